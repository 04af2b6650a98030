"""The twenty lines of `docs/integrate.md`, run as they stand there."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from local_stack import ROOT
from privacy_contracts.replies import ReplyDone, ReplyNotFound

from .conftest import Bench, deletion

YOURS = """
import os
LOGIN = {{"bootstrap_servers": os.environ["KAFKA_BOOTSTRAP"], "security_protocol": "SASL_PLAINTEXT",
         "sasl_mechanism": "SCRAM-SHA-256", "sasl_plain_username": os.environ["KAFKA_USERNAME"],
         "sasl_plain_password": os.environ["KAFKA_PASSWORD"]}}
done = {{}}
answered = done.get
def delete(request, account, emails):
    if account or emails:
        kind = "reply.done" if account or emails == ["eve@example.com"] else "reply.not_found"
        answer = {{"request": request, "system": "orders", "answered_by": "system/orders", "answered_at": "{time}"}}
        answer |= {{"account": account}} if account else {{}}
        return done.setdefault(request, (kind, answer, "{time}"))
"""


def block(document: str, after: str) -> str:
    """The first block of Python behind a heading."""
    return document.partition(after)[2].split("```python\n")[1].split("```")[0]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program of the document with the module that it imports, beside what the reader adds."""
    document = Path(ROOT, "docs", "integrate.md").read_text("utf-8")
    found = block(document, "## 2a.")
    assert len([line for line in found.splitlines() if line and not line.startswith(("import", "from"))]) <= 20
    Path(tmp_path, "yours.py").write_text(YOURS.format(time=datetime.now(UTC).isoformat()))
    Path(tmp_path, "identifiers.py").write_text(block(document, "## 3."))
    written = Path(tmp_path, "program.py")
    written.write_text(found)
    return written


async def test_the_lines_for_kafka_answer_about_people_with_and_without_an_account(bench: Bench, program: Path) -> None:
    asked, others = deletion(f"a-{uuid4().hex}"), deletion(f"a-{uuid4().hex}", "marketing")
    guest, stranger, nobody = deletion(None), deletion(None), deletion(None)
    bench.platform.people[guest.request] = ["Eve@Example.com"]
    bench.platform.people[stranger.request] = ["zoe@example.com"]
    bench.platform.people[nobody.request] = None
    repeated = deletion(None, request=guest.request, attempt=2)
    await bench.publish(others, nobody, asked, guest, repeated, stranger)
    command, more = [sys.executable, str(program)], {"TOKEN_URL": f"{bench.platform.url}/issuer/token"}
    with subprocess.Popen(command, env=os.environ | bench.environment | more) as process:  # noqa: ASYNC220 - a test may wait
        try:
            [answer] = await bench.answered(asked.request)
            [done, again] = await bench.answered(guest.request, 2)
            [not_found] = await bench.answered(stranger.request)
        finally:
            process.kill()
    assert isinstance(answer.reply, ReplyDone)
    assert (answer.headers["ce_source"], answer.headers["ce_subject"]) == ("orders", f"account/{asked.account}")
    assert isinstance(done.reply, ReplyDone)
    assert (done.reply.account, done.headers["ce_subject"]) == (None, f"request/{guest.request}")
    assert again.body == done.body
    assert bench.platform.asked.count(guest.request) == 1
    assert isinstance(not_found.reply, ReplyNotFound)
    assert await bench.answers(others.request) == await bench.answers(nobody.request) == []
