"""Choices, policy versions, and the decision whether a disclosure may happen."""
