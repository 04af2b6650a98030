"""`audit serve | migrate | replay | dead-letters`."""

from importlib.resources import files

from audit.app import build
from audit.settings import Settings
from chassis.app import main

if __name__ == "__main__":
    main("audit", Settings, build, migrations=files("audit.migrations"))
