"""The lines of `docs/integrate.md` for curl, run as they stand there."""

import subprocess
from pathlib import Path

from .conftest import ROOT, World

FORGET = """forget() {
  told=$(cat)
  case $2:$told in a1:* | *'"eve@example.com"'*) echo done ;; *) echo not_found ;; esac
}
"""


def test_the_lines_for_curl_answer_about_people_with_and_without_an_account(world: World) -> None:
    document = Path(ROOT, "docs", "integrate.md").read_text("utf-8")
    program = document.split("```sh\n")[1].split("```")[0]
    assert len([line for line in program.splitlines() if line]) <= 20
    outcomes = {
        world.task("a1", "ann@example.com"): "done",
        world.task("b1", "bob@example.com"): "not_found",
        world.task(None, "eve@example.com"): "done",
        world.task(None, "zoe@example.com"): "not_found",
    }
    gone, away = world.task("a1"), world.task("a1")
    outcomes[gone] = "done"
    del world.people[world.tasks[-2]["request"]]
    world.task(None)
    del world.people[world.tasks[-1]["request"]]  # nobody to look for: no answer
    world.status[f"/dsr/v1/requests/{world.tasks[-2]['request']}/identifiers"] = 503
    lost = world.task("a1")
    world.said[f"/dsr/v1/requests/{world.tasks[-1]['request']}/identifiers"] = 404, "<p>no page 200</p>", {}
    world.secret = "letters-and-numbers_123"
    environment = world.environment() | {"TOKEN_URL": f"{world.url}/issuer/token"}
    command = ["sh", "-c", FORGET + program]
    subprocess.run(command, env=environment, check=True, timeout=30, stdout=subprocess.DEVNULL)
    assert world.answers == [(task, f"{task}-1", {"outcome": outcome}) for task, outcome in outcomes.items()]
    assert {away, lost}.isdisjoint(outcomes)
