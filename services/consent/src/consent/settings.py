"""What the consent service is told by its environment, beside what every service is."""

from pydantic import Field

import chassis.settings


class Settings(chassis.settings.Settings):
    """`NOTICE_DAYS`, `RECORD_DELAY_LIMIT_SECONDS` and the settings of every service."""

    notice_days: int = Field(default=30, ge=1, le=3650)
    """How long a revision published from now on is announced on the home page."""
    record_delay_limit_seconds: int = Field(default=60, ge=1)
    """No disclosure is decided while the oldest unpublished event of this service is older."""
