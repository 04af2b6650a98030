"""Every way to personal data leaves its record."""
