"""Records that nobody can read, or that always fail, on every topic that somebody reads."""
