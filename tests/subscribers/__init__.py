"""Every way to lose messages, on every subscriber."""
