"""`python -m local_stack.demo`: start everything, tell the story, show where to look.

BREAK=orders tells of a system that never answers; POLICY=FILE serves another policy text. On a terminal the stack
stays up until Ctrl-C; otherwise it stops, and the exit status says whether every step held.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import httpx
from asyncpg import PostgresError

from local_stack import DEFAULT_DIRECTORY, LocalStackError
from local_stack.demo import index, story
from local_stack.demo.telling import Failed, Telling, line, telling
from local_stack.ports import configured
from local_stack.stack import Stack

BASE_PORT = 8500


def main() -> int:
    """Tell it; returns the exit status."""
    broken = os.environ.get("BREAK") or None
    if broken not in {None, "orders"}:
        print("BREAK can be: orders", file=sys.stderr)
        return 2
    policy = Path(os.environ["POLICY"]) if os.environ.get("POLICY") else None
    if policy is not None and not policy.is_file():
        print("POLICY names no file", file=sys.stderr)
        return 2
    env = {"dsr": {"COOLING_OFF": "2"}, "orders": {"TASK_DELAY": "1"} | ({"BREAK": "1"} if broken else {})}
    for number in (signal.SIGINT, signal.SIGTERM):  # started by a script, both may be ignored, or kill without a word
        signal.signal(number, signal.default_int_handler)
    began = time.monotonic()
    base = configured("BASE_PORT") or BASE_PORT
    stack = Stack(DEFAULT_DIRECTORY / "demo", base_port=base, env=env, say=lambda text: line(began, text))
    try:
        return asyncio.run(_run(stack, began, policy, broken))
    except KeyboardInterrupt:
        return 0
    finally:
        stack.down()


async def _run(stack: Stack, began: float, policy: Path | None, broken: str | None) -> int:
    async with telling(stack, began) as t:
        try:
            await asyncio.to_thread(_fresh, stack, t)
            await _tell(t, policy, broken)
        except (Failed, LocalStackError, httpx.HTTPError, PostgresError) as error:
            print(f"\nThe demo failed at: {t.step}\n{error}", file=sys.stderr)
            return 1
        await _close(t)
        return 0


def _fresh(stack: Stack, t: Telling) -> None:
    t.head("Starting")
    stack.reset()
    stack.up()


async def _tell(t: Telling, policy: Path | None, broken: str | None) -> None:
    first, typo, material = story.revisions(policy)
    await story.introduce(t)
    t.head("The policy")
    await story.publish(t, first)
    await story.register(t)
    await story.feed(t)
    await story.revise(t, typo, material)
    await story.ask(t)
    before = await story.search_before(t)
    await story.confirm(t)
    if broken:
        await story.silent(t)
    else:
        await story.delete(t)
        await story.prove(t, before)


async def _close(t: Telling) -> None:
    t.head("Done")
    if t.first_finished is not None:
        t.say(f"the first deletion was finished after {t.first_finished:.1f} s")
    if not sys.stdout.isatty():
        return
    async with index.served(t) as url:
        t.say("look around", url)
        t.say("now delete another one yourself (bob@example.com)", f"{t.stack.url('website')}/privacy")
        print("\nCtrl-C ends it.", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
