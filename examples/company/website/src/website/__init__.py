"""The sample company's website."""
