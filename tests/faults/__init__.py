"""Records that nobody can read, servers and services that fail at every moment, clocks that jump, a bad deploy."""
