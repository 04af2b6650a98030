"""What an operator may set beside chassis' own settings. Durations are in seconds."""

from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from pydantic import Field

from chassis import settings
from chassis.sealing import Sealing
from dsr.domain import addresses

_DAY = 86_400
ADDRESS = "address"
"""The purpose under which addresses are hashed."""


class Settings(settings.Settings):
    """The environment of this service."""

    cooling_off: int = Field(default=3 * _DAY, ge=0)
    """From the second confirmation to the point of no return."""
    verify_within: int = Field(default=30 * _DAY, ge=1)
    """How long a request waits for the person; never beyond the day on which an answer is due."""
    retry_after: int = Field(default=3_600, ge=0)
    """From a system's failure to its next asking."""


@dataclass(frozen=True)
class Desk:
    """What a request is handled with."""

    sealing: Sealing
    zone: ZoneInfo
    public_url: str
    cooling_off: timedelta
    verify_within: timedelta
    retry_after: timedelta

    def fingerprint(self, address: str) -> bytes:
        """The keyed hash by which addresses are compared."""
        return self.sealing.fingerprint(ADDRESS, addresses.normalised(address))


def desk(settings: Settings, sealing: Sealing, time_zone: str) -> Desk:
    """The settings, as the types that decisions take."""
    return Desk(
        sealing=sealing,
        zone=ZoneInfo(time_zone),
        public_url=settings.public_url.rstrip("/"),
        cooling_off=timedelta(seconds=settings.cooling_off),
        verify_within=timedelta(seconds=settings.verify_within),
        retry_after=timedelta(seconds=settings.retry_after),
    )
