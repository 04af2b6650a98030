"""`python -m local_stack.demo`: start everything, tell the story, show where to look.

BREAK=orders tells of a system that never answers; POLICY=FILE serves another policy text. On a terminal the stack
stays up until Ctrl-C; otherwise it stops, and the exit status says whether every step held.

Invariant: however it ends, by Ctrl-C, SIGTERM or a closed terminal, it stops what it started. After a SIGKILL
`make down` does.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

import httpx
from asyncpg import PostgresError

from local_stack import LocalStackError, Misuse
from local_stack.demo import FOLDER, LOCK, index, story
from local_stack.demo.telling import Failed, Telling, line
from local_stack.layout import PORTS
from local_stack.ports import configured
from local_stack.processes import ENDINGS, Identity, identify, read_pidfile
from local_stack.stack import Stack

BASE_PORT = 8500


def main() -> int:
    """Tell it; returns the exit status: 1 when a step did not hold, 2 when it cannot be told as asked."""
    _end_by(signal.signal)
    try:
        broken = os.environ.get("BREAK") or None
        if broken not in {None, "orders"}:
            raise Misuse("BREAK can be: orders")
        revisions = story.revisions(os.environ.get("POLICY") or None)
        base = configured("BASE_PORT", len(PORTS)) or BASE_PORT
        with _alone():
            return _run(base, revisions, broken is not None)
    except LocalStackError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, Misuse) else 1


def _end_by(hear: Callable[[signal.Signals, Callable[..., None]], object]) -> None:
    """Have each of the signals end us. A script may start us with SIGINT ignored; that `nohup` ignores SIGHUP holds."""
    for number in ENDINGS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            hear(number, _ending(128 + number))


def _ending(status: int) -> Callable[..., None]:
    def end(*_: object) -> None:
        _hear_no_more()
        raise SystemExit(status)

    return end


def _hear_no_more() -> None:
    """Ignore further signals: a terminal that closes sends several, and what runs is being stopped."""
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold the demo's lock, which a process that dies loses, with our own identity in it.

    Raises:
        LocalStackError: another demo holds it.

    """
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = read_pidfile(LOCK)
            raise LocalStackError(
                f"a demo runs in this folder already{f', as process {other.pid}' if other else ''}: "
                "end it by Ctrl-C in its terminal, or by `make down`"
            ) from None
        file.truncate(0)
        json.dump(asdict(identify(os.getpid()) or Identity(os.getpid(), time.time())), file)
        file.flush()
        yield


def _run(base: int, revisions: list[story.Revision], broken: bool) -> int:
    began = time.monotonic()
    env = {"dsr": {"COOLING_OFF": "2"}, "orders": {"TASK_DELAY": "1"} | ({"BREAK": "1"} if broken else {})}
    stack = Stack(FOLDER, base_port=base, env=env, say=lambda text: line(began, text))
    t = Telling(stack, httpx.AsyncClient(timeout=15), began, broken)
    try:
        t.head("Starting")
        stack.reset()
        stack.up()
        asyncio.run(_tell(t, revisions))
    except (Failed, LocalStackError, httpx.HTTPError, PostgresError) as error:
        print(f"\nThe demo failed at: {t.step}\n{error}", file=sys.stderr)
        return 1
    finally:
        _hear_no_more()
        stack.down()
    return 0


async def _tell(t: Telling, revisions: list[story.Revision]) -> None:
    first, correction, material = revisions
    _end_by(asyncio.get_running_loop().add_signal_handler)  # not in the middle of a step
    async with t.http:
        await story.introduce(t)
        t.head("The policy")
        await story.publish(t, first)
        await story.register(t)
        await story.feed(t)
        await story.revise(t, correction, material)
        await story.ask(t)
        before = await story.search_before(t)
        await story.confirm(t)
        if t.broken:
            await story.silent(t)
        else:
            await story.delete(t)
            await story.prove(t, before)
        await _close(t)


async def _close(t: Telling) -> None:
    t.head("Done")
    if t.first_finished is not None:
        t.say(f"the first deletion was finished after {t.first_finished:.1f} s")
    if not sys.stdout.isatty():
        return
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, _ending(0))
    async with index.served(t) as url:
        t.say("look around", url)
        t.say(": ".join(t.invitation), f"{t.stack.url('website')}/privacy")
        print("\nCtrl-C ends it.", flush=True)
        while sys.stdout.isatty():  # a closed one is none; make may not pass its SIGHUP on
            with contextlib.suppress(Failed, httpx.HTTPError):
                await story.staff(t)
            await asyncio.sleep(0.5)
    raise SystemExit(128 + signal.SIGHUP)


if __name__ == "__main__":
    sys.exit(main())
