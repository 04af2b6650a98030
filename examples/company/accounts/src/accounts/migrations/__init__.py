"""The numbered migrations of the accounts system."""
