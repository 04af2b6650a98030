"""`python -m consent serve | migrate | replay | dead-letters`."""

from importlib.resources import files

from chassis.app import main
from consent.app import build
from consent.settings import Settings

main("consent", Settings, build, migrations=files("consent.migrations"))
