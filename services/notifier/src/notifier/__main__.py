"""`python -m notifier serve | migrate | replay | dead-letters`."""

from importlib.resources import files

from chassis.app import main
from notifier.app import build
from notifier.settings import Settings

if __name__ == "__main__":
    main("notifier", Settings, build, migrations=files("notifier.migrations"))
