"""Numbered SQL, run by the owner role."""
