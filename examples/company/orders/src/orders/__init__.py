"""The sample company's order system: a plain Kafka client and SQL."""
