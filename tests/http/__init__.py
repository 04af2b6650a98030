"""What the services answer to callers who are wrong, unknown or curious."""
