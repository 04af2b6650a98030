"""The HTTP edge of the consent service: it owns the transactions and turns refusals into problems."""
