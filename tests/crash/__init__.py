"""Processes that die at the worst moments, while requests run."""
