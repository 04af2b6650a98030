"""All SQL of the consent service. Functions take the connection first and never commit."""
