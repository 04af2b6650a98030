"""The schema of chassis itself."""
