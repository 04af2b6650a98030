"""The twenty lines of `docs/integrate.md`, run as they stand there."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from local_stack import ROOT
from privacy_contracts.replies import ReplyDone

from .conftest import Bench, deletion

YOURS = """
import os
LOGIN = {{"bootstrap_servers": os.environ["KAFKA_BOOTSTRAP"], "security_protocol": "SASL_PLAINTEXT",
         "sasl_mechanism": "SCRAM-SHA-256", "sasl_plain_username": os.environ["KAFKA_USERNAME"],
         "sasl_plain_password": os.environ["KAFKA_PASSWORD"]}}
def delete(request, account):
    answer = {{"request": request, "account": account, "system": "orders", "answered_by": "system/orders",
              "answered_at": "{time}"}}
    return "reply.done", answer, "{time}"
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program of the document, beside what the reader adds."""
    document = Path(ROOT, "docs", "integrate.md").read_text("utf-8")
    found = document.split("```python\n")[1].split("```")[0]
    assert len([line for line in found.splitlines() if line and not line.startswith(("import", "from"))]) <= 20
    Path(tmp_path, "yours.py").write_text(YOURS.format(time=datetime.now(UTC).isoformat()))
    written = Path(tmp_path, "program.py")
    written.write_text(found)
    return written


async def test_the_lines_for_kafka_answer(bench: Bench, program: Path) -> None:
    asked, others = deletion(f"a-{uuid4().hex}"), deletion(f"a-{uuid4().hex}", "marketing")
    await bench.publish(others, asked)
    command = [sys.executable, str(program)]
    with subprocess.Popen(command, env=os.environ | bench.environment) as process:  # noqa: ASYNC220 - a test may wait
        try:
            [answer] = await bench.answered(asked.request)
        finally:
            process.kill()
    assert isinstance(answer.reply, ReplyDone)
    assert answer.headers["ce_source"] == "orders"
    assert await bench.answers(others.request) == []
