"""The schema of the audit service."""
