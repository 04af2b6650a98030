"""The demo: one deletion through the whole company, told with facts that anyone with the right may read back."""

from local_stack import DEFAULT_DIRECTORY

FOLDER = DEFAULT_DIRECTORY / "demo"
LOCK = DEFAULT_DIRECTORY / "demo.lock"
"""Locked while a demo is told, and names its process."""
