"""The diagram of `ARCHITECTURE.md` shows the calls of `topics.toml`."""

import re

from local_stack import ROOT
from privacy_contracts.topology import calls

EDGE = re.compile(r"^ *(\w+) -- HTTP.*--> ([\w& ]+)$", re.MULTILINE)


def test_the_diagram_has_every_call_and_no_other() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    drawn = {(caller, called) for caller, those in EDGE.findall(text) for called in those.split(" & ")}
    assert drawn == {(call.caller, call.called) for call in calls()}
