"""What the accounts system is told by its environment, beside what everything on chassis is."""

from pathlib import Path

from pydantic import Field

import chassis.settings


class Settings(chassis.settings.Settings):
    """`FEED_DIR`, `COMPACTION_LAG_SECONDS`, and the settings of every service."""

    feed_dir: Path
    """Where files for advertising partners are written."""
    compaction_lag_seconds: float = Field(default=86_400, gt=0)
    """`max.compaction.lag.ms` of the topic `accounts`, in seconds; a heartbeat is written at half of it."""
