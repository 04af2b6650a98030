"""Topics and ACLs from topics.toml: a job that converges a cluster."""
