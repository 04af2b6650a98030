"""Nothing is left of a person after their deletion, wherever it may have been written."""
