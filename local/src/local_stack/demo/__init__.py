"""The demo: one deletion through the whole company, told with facts that anyone with the right may read back."""
