"""The append-only record of every disclosure, access and privacy decision."""
