"""`python -m accounts serve | migrate | replay | dead-letters`."""

from importlib.resources import files

from accounts.app import build
from accounts.settings import Settings
from chassis.app import main

main("accounts", Settings, build, migrations=files("accounts.migrations"))
