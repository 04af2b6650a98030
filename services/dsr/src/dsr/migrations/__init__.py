"""The service's tables, as numbered SQL."""
