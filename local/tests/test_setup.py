"""What set-up says first of all when something is missing."""

import shutil
import subprocess
from pathlib import Path

import pytest

from local_stack import ROOT

TOOLS = ("sh", "dirname", "sed", "head", "cat", "id", "cksum", "grep")


def set_up(kind: str, path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(ROOT / "local" / "setup.sh"), kind],
        env={"PATH": str(path), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A machine without Java, Maven, Python and a browser."""
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / tool).symlink_to(found)
    return tmp_path


def test_everything_that_is_missing_is_said_at_once_with_how_to_get_it(bare: Path) -> None:
    done = set_up("dev", bare)

    assert done.returncode == 1
    for word in ("Java 17 or later", "openjdk-17-jre-headless", "Maven", "apt-get install maven", "CHROMIUM"):
        assert word in done.stderr
    assert "Fetching" not in done.stdout


def test_a_java_that_is_too_old_is_named(bare: Path) -> None:
    (bare / "java").write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    (bare / "java").chmod(0o755)

    assert "Java 17 or later (found 11)" in set_up("run", bare).stderr


def test_a_browser_named_by_the_environment_will_do(bare: Path) -> None:
    (bare / "my-browser").write_text("#!/bin/sh\n")
    (bare / "my-browser").chmod(0o755)

    assert "Chromium" not in set_up("dev", bare, CHROMIUM=str(bare / "my-browser")).stderr
