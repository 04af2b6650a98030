"""The lines of `docs/integrate.md` for curl, run as they stand there."""

import subprocess
from pathlib import Path

from .conftest import ROOT, World

FORGET = 'forget() { [ "$1" = a1 ] && echo done || echo not_found; }\n'


def test_the_lines_for_curl_answer(world: World) -> None:
    document = Path(ROOT, "docs", "integrate.md").read_text("utf-8")
    program = document.split("```sh\n")[1].split("```")[0]
    assert len([line for line in program.splitlines() if line]) <= 20
    known, unknown = world.task("a1"), world.task("b1")
    world.secret = "letters-and-numbers_123"
    environment = world.environment() | {"TOKEN_URL": f"{world.url}/issuer/token"}
    subprocess.run(["sh", "-c", FORGET + program], env=environment, check=True, timeout=30, stdout=subprocess.DEVNULL)
    assert world.answers == [
        (known, f"{known}-1", {"outcome": "done"}),
        (unknown, f"{unknown}-1", {"outcome": "not_found"}),
    ]
