"""The sample company's accounts system, on chassis."""
