"""Ports on loopback: free ones, the error for one that is taken, and whether who listens is ready."""

import functools
import itertools
import json
import os
import secrets
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from local_stack import LocalStackError, Misuse

LOOPBACK = "127.0.0.1"


FIRST, BLOCKS, BLOCK = 18_000, 70, 200
"""Free ports lie below those that systems give to outgoing connections, so that one is still free when a process that
was killed starts again."""


def free_port() -> int:
    """Return a port that nothing listens on, and that no other process gives out while this one lives."""
    return next(port for port in _mine() if is_free(port))


@functools.cache
def _mine() -> Iterator[int]:
    """The ports of a block, round and round. It is ours as long as we live, since we keep its first port bound."""
    while True:
        first = FIRST + secrets.randbelow(BLOCKS) * BLOCK
        guard = socket.socket()
        try:
            guard.bind((LOOPBACK, first))
        except OSError:
            guard.close()
        else:
            guard.detach()  # closed by the end of the process alone
            return itertools.cycle(range(first + 1, first + BLOCK))


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether something listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def configured(variable: str, count: int = 1) -> int | None:
    """Return the port that the environment variable gives, the first of `count`, or None when it is not set."""
    text, last = os.environ.get(variable, ""), 65536 - count
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text) <= last:
        raise Misuse(f"{variable} must be a port number between 1 and {last}, not {text!r}")
    return int(text)


def last_ports(directory: Path) -> dict[str, int]:
    """Return the ports that the processes of a folder were given last, by name; none before the first start."""
    path = directory / "ports.json"
    ports: dict[str, int] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return ports


def claim(name: str, port: int, variable: str) -> None:
    """Refuse a port on which something else listens already.

    Raises:
        LocalStackError: naming the port, who wanted it, and the variable that moves it.

    """
    if not is_free(port):
        raise LocalStackError(
            f"port {port} for {name} is in use by another program: stop that one, or set {variable} to another port"
        )


def unready(port: int) -> str | None:
    """Ask `/readyz`; returns what is missing, None when nothing is."""
    connection = HTTPConnection(LOOPBACK, port, timeout=2.0)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return None if answer.status == 200 else answer.read(500).decode("utf-8", "replace")
    except (OSError, HTTPException):
        return "it does not answer yet"
    finally:
        connection.close()
