"""`python -m dsr serve | migrate | replay | dead-letters`."""

from importlib.resources import files

from chassis.app import main
from dsr.app import build
from dsr.settings import Settings

if __name__ == "__main__":
    main("dsr", Settings, build, files("dsr.migrations"))
