"""The audit service's settings: chassis', and no more."""

from chassis.settings import Settings

__all__ = ["Settings"]
