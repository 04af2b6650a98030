"""The local stack: Kafka, Postgres, mail sink, token issuer, supervisor; in no image."""
