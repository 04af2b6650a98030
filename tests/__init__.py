"""What holds for the whole company at once, shown on a real Kafka and a real Postgres."""
