"""The mail sink: SMTP in, HTTP out, as its own process."""

import os
import smtplib
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from local_stack.ports import LOOPBACK, answers, free_port
from local_stack.processes import Identity, kill, spawn, stop, wait_for


class Sink:
    """A running sink."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.smtp_port, self.port = directory, free_port(), free_port()
        self.http = httpx.Client(base_url=f"http://{LOOPBACK}:{self.port}")
        self.identity: Identity
        self.start()

    def start(self) -> None:
        arguments = ["--directory", str(self.directory / "mail"), "--smtp-port", str(self.smtp_port)]
        command = [sys.executable, "-m", "local_stack.sink", *arguments, "--port", str(self.port)]
        log, pidfile = self.directory / "log", self.directory / "pid"
        self.identity = spawn(command, env=os.environ, log=log, pidfile=pidfile)
        assert wait_for(lambda: answers(self.port) and answers(self.smtp_port), 60), log.read_text()

    def send(self, to: str = "ann@example.com", subject: str = "Hello") -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "privacy@example.com", to, subject
        mail["Message-ID"] = "<1@example.com>"
        mail.set_content("Open http://example.com/r/1 please.\n.\n")
        mail.add_alternative("<p>Open <b>it</b></p><script>alert(1)</script>", subtype="html")
        with smtplib.SMTP(LOOPBACK, self.smtp_port, timeout=60) as smtp:
            smtp.send_message(mail)

    def messages(self, **query: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = self.http.get("/messages", params=query).json()["messages"]
        return found

    def fault(self, **fault: object) -> None:
        assert self.http.post("/faults", json=fault).status_code == 201


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    sink = Sink(tmp_path_factory.mktemp("sink"))
    yield sink
    sink.http.close()
    stop(sink.identity)


@pytest.fixture
def sink(running: Sink) -> Sink:
    running.http.delete("/faults")
    return running


def test_a_message_is_shown_as_received(sink: Sink) -> None:
    sink.send("Ann@example.com")

    [message] = sink.messages(to="ann@example.com")
    assert message["sender"] == "privacy@example.com"
    assert message["message_id"] == "<1@example.com>"
    assert message["subject"] == "Hello"
    assert message["links"] == ["http://example.com/r/1"]
    assert "\r\n..\r\n" not in sink.http.get(f"/messages/{message['id']}/raw").text
    assert sink.messages(to="else@example.com") == []


def test_messages_are_their_owners_alone(sink: Sink) -> None:
    sink.send()
    assert (sink.directory / "mail").stat().st_mode & 0o077 == 0


def test_nothing_in_a_message_runs_in_the_inbox(sink: Sink) -> None:
    sink.send("eve@example.com", "<script>alert(1)</script>")
    [message] = sink.messages(to="eve@example.com")

    assert "<script>" not in sink.http.get("/").text
    assert "<script>" not in sink.http.get(f"/messages/{message['id']}/page").text
    html = sink.http.get(f"/messages/{message['id']}/html")
    assert "sandbox" in html.headers["content-security-policy"]
    assert "default-src 'none'" in html.headers["content-security-policy"]


def test_the_next_n_messages_are_refused(sink: Sink) -> None:
    sink.fault(times=2, reply="451 try later")
    for _ in range(2):
        with pytest.raises(smtplib.SMTPDataError, match="451"):
            sink.send("bob@example.com")
    sink.send("bob@example.com")

    assert len(sink.messages(to="bob@example.com")) == 1


def test_one_recipient_is_refused_and_others_are_not(sink: Sink) -> None:
    sink.fault(times=9, recipient="*@example.org", at="rcpt", reply="550 no such mailbox")
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        sink.send("gone@example.org")
    sink.send("carl@example.com")

    assert sink.messages(to="gone@example.org") == []
    assert len(sink.messages(to="carl@example.com")) == 1


def test_a_message_may_be_kept_and_its_sender_never_hear_so(sink: Sink) -> None:
    sink.fault(drop=True)
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        sink.send("dora@example.com")

    assert len(sink.messages(to="dora@example.com")) == 1


def test_a_fault_that_is_no_smtp_reply_is_refused(sink: Sink) -> None:
    assert sink.http.post("/faults", json={"reply": "250 fine"}).status_code == 422


def test_what_was_accepted_survives_kill(sink: Sink) -> None:
    sink.send("erin@example.com")
    before = sink.messages()

    kill(sink.identity)
    sink.start()

    assert sink.messages() == before
    sink.send("erin@example.com")
    assert len(sink.messages(to="erin@example.com")) == 2
