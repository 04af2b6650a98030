"""The code of a release as files, for tests that run it beside today's; decision record 0007 says why it is kept.

python -m tests.releases.archive 2 COMMIT      # makes 2.tar.xz of what a commit holds, the same bytes each time
"""

import lzma
import os
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = (
    *("contracts/src", "chassis/src", "services/consent/src", "services/dsr/src", "services/notifier/src"),
    *("services/audit/src", "examples/company/accounts/src", "examples/company/orders/src"),
)
"""What stands on the module path."""
BESIDE = ("contracts/topics.toml", "contracts/systems.toml", "contracts/schemas", "examples/company/marketing")
"""What else the code reads, or is: links of the package of contracts, orders' schemas, a shell script."""


def unpacked(release: int, folder: Path) -> Path:
    """The release's files under `folder`."""
    with tarfile.open(HERE / f"{release}.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # not before Python 3.11.4
        archive.extractall(folder)  # noqa: S202 - an archive of our own
    return folder


def module_path(folder: Path) -> str:
    """A PYTHONPATH on which the release's modules come before those that are installed."""
    return os.pathsep.join(str(folder / source) for source in SOURCES)


def make(release: int, commit: str) -> Path:
    """Write the archive of what a commit holds."""
    named = subprocess.run(["git", "rev-parse", commit], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    line = ["git", "archive", "--format=tar", named, "--", *SOURCES, *BESIDE]
    tar = subprocess.run(line, stdout=subprocess.PIPE, check=True, cwd=HERE.parents[1]).stdout
    made = HERE / f"{release}.tar.xz"
    made.write_bytes(lzma.compress(tar, preset=9 | lzma.PRESET_EXTREME))
    return made


if __name__ == "__main__":
    print(make(int(sys.argv[1]), sys.argv[2]))
