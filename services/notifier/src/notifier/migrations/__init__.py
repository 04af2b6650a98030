"""Numbered SQL, run by `migrate`."""
