"""All SQL of the audit service."""

from audit.queries import findings, log, reading, tracks

__all__ = ["findings", "log", "reading", "tracks"]
