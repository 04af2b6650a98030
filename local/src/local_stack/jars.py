"""Kafka's jars, fetched by Maven once and checked against `local/kafka.sha256`."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from local_stack import JARS, ROOT, LocalStackError

POM = ROOT / "local" / "pom.xml"
SUMS = ROOT / "local" / "kafka.sha256"


def expected() -> dict[str, str]:
    """Return the SHA-256 of each jar by file name."""
    pairs = (line.split() for line in SUMS.read_text("utf-8").splitlines())
    return {name: digest for digest, name in pairs}


def present(directory: Path = JARS) -> bool:
    """Whether the folder holds exactly the expected jars, each checked once after its download."""
    stamp = directory / "checked"
    return stamp.exists() and stamp.read_text("utf-8") == SUMS.read_text("utf-8")


def fetch(directory: Path = JARS) -> None:
    """Fetch the jars unless they are present.

    Raises:
        LocalStackError: Maven is missing or failed, or a jar is not the expected one.

    """
    if present(directory):
        return
    maven = shutil.which("mvn")
    if maven is None:
        raise LocalStackError("Maven (mvn) is missing: install it, on Debian with `apt-get install maven`")
    print(f"Fetching Apache Kafka: {len(expected())} jars, 43 MB, into {directory}", file=sys.stderr, flush=True)
    command = [maven, "-q", "-B", "-Dstyle.color=never", "-f", str(POM), "dependency:copy-dependencies"]
    done = subprocess.run(
        [*command, "-DincludeScope=runtime", f"-DoutputDirectory={directory}"],
        env={**os.environ, "MAVEN_OPTS": f"{os.environ.get('MAVEN_OPTS', '')} -Djansi.noreset=true"},  # colours off
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode:
        raise LocalStackError("Maven could not fetch Kafka's jars; its own message stands above")
    check(directory)
    (directory / "checked").write_text(SUMS.read_text("utf-8"), "utf-8")


def check(directory: Path) -> None:
    """Compare the folder with the expected jars, deleting what does not belong.

    Raises:
        LocalStackError: a jar is missing or has another content.

    """
    wanted = expected()
    for jar in directory.glob("*.jar"):
        if jar.name not in wanted:
            jar.unlink()
    for name, digest in wanted.items():
        jar = directory / name
        if not jar.exists() or hashlib.sha256(jar.read_bytes()).hexdigest() != digest:
            jar.unlink(missing_ok=True)
            raise LocalStackError(f"{name} is missing or is not the expected file; run the command again")


def main() -> None:
    """Fetch the jars, or say what is wrong and exit with status 1. Needs nothing but the standard library."""
    try:
        fetch()
    except LocalStackError as error:
        raise SystemExit(str(error)) from None
