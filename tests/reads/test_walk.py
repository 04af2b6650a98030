"""The walk over every route, job, timer, handler and command: none is unknown, and whatever reads leaves its record."""

import argparse
import importlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from chassis.app import letters
from chassis.app.runtime import App, Runtime
from chassis.app.verbs import _parser
from local_stack.observe import AUDITOR

from ..log import Record, read
from ..people import Company, eventually
from .ways import COMMANDS, OPERATORS, WAYS, Reads

PARTNER = "walkco"
OPENING = {"dsr": ["queries/personal.py"], "notifier": ["queries/accounts.py"]}
"""The one module of a service that opens sealed values, with the record of each; the other services seal none."""
OWN_SETTINGS: dict[str, dict[str, Any]] = {
    "notifier": {"smtp_host": "localhost", "smtp_tls": "none"},
    "accounts": {"feed_dir": Path("feeds")},
}


def _built(service: str, runtime: Callable[..., Runtime[Any]]) -> App:
    settings = importlib.import_module(f"{service}.settings").Settings
    build = importlib.import_module(f"{service}.app").build
    app: App = build(runtime(service, None, settings, **OWN_SETTINGS.get(service, {})))
    return app


def _ways_into(app: App, *more: APIRouter) -> Iterator[str]:
    for router in (*app.routers, *more):
        for route in router.routes:
            assert isinstance(route, APIRoute), route
            for method in route.methods or ():
                yield f"{method} {route.path}"
    yield from (f"timer {kind}" for kind in app.timers)
    yield from (f"job {kind}" for kind in app.jobs)
    yield from (f"event {kind}" for kind in {*app.handlers.projections, *app.handlers.reactions})
    if app.handlers.raw_handler:
        yield "every record"


@pytest.mark.promise(76)
@pytest.mark.parametrize("service", sorted(WAYS))
def test_every_way_into_a_service_is_classified(service: str, runtime: Callable[..., Runtime[Any]]) -> None:
    app = _built(service, runtime)
    assert set(_ways_into(app, letters.router(runtime(service, None), app))) == {*WAYS[service], *OPERATORS}


@pytest.mark.parametrize("service", sorted(WAYS))
def test_sealed_values_are_opened_in_one_module_of_a_service(service: str) -> None:
    source = Path(str(importlib.import_module(service).__file__)).parent
    texts = {file.relative_to(source).as_posix(): file.read_text("utf-8") for file in source.rglob("*.py")}
    opening = [name for name, text in texts.items() if re.search(r"\bsealing\s*\.open\b", text)]
    assert opening == OPENING.get(service, [])


def test_every_command_is_classified() -> None:
    def commands(parser: argparse.ArgumentParser, before: str = "") -> Iterator[str]:
        choices = [each.choices for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
        if not choices:
            yield before.strip()
        for name, inner in choices[0].items() if choices else ():
            yield from commands(inner, f"{before} {name}")

    assert set(commands(_parser("dsr"))) == set(COMMANDS)


@pytest.mark.promise(76)
async def test_whatever_reads_leaves_its_record_on_kafka_and_in_the_audit(company: Company) -> None:
    """Each way that reads is gone once; then its record is looked for."""
    customer = await company.register("xenia", order=True)
    await company.choose(customer, "granted")
    await company.get("consent", "/v1/choices", "website", subject=customer.subject)
    await company.post("accounts", "/v1/customers/find", {"email": customer.email}, status=200)
    await company.send("GET", "accounts", "/v1/marketing-list", "marketing")
    await company.send("PATCH", "accounts", f"/v1/customers/{customer.account}", "website", json={"name": "Xenia"})
    feed = {"recipient": PARTNER, "purpose": "third_party_marketing"}
    await company.post("accounts", "/v1/feeds", feed, "operator-01", status=202)
    names = {"request": "", "subject": customer.subject, "partner": PARTNER}
    await eventually("the feed", lambda: _found(company, names, "accounts", "job feed.ask"))
    await eventually("the feed's file", lambda: _found(company, names, "accounts", "job feed.write"))

    other = await company.register("yves")
    names["closed"] = other.subject
    await company.close_account(other)

    request, link = await company.begin(customer.email)
    names["request"] = request
    await company.closed(customer.email, request)
    await company.http.get(link)
    await company.press(link, "withdraw")
    index = (await company.trail(subject=customer.subject))[0]["index"]
    await company.get("audit", f"/v1/entries/{index}", AUDITOR)
    await company.get("audit", "/v1/findings", AUDITOR)
    await company.get("audit", "/v1/subjects/recipients", AUDITOR, subject=customer.subject)
    await company.complete(request)

    for service, ways in WAYS.items():
        for way in (name for name, what in ways.items() if isinstance(what, Reads)):
            found = await eventually(f"the record of {service}: {way}", partial(_found, company, names, service, way))
            await eventually("its entry", partial(_entry, company, found))


async def _found(company: Company, names: dict[str, str], service: str, way: str) -> Record | None:
    """The record that a way should leave, if it is there."""
    wanted = WAYS[service][way]
    assert isinstance(wanted, Reads)
    fields = {name: value.format(**names) if isinstance(value, str) else value for name, value in wanted.fields.items()}
    for record in await read(company.stack, wanted.topic):
        if record.type == wanted.type and not record.planted:
            body = record.body
            if all(body.get(name) == value for name, value in fields.items()):
                return record
    return None


async def _entry(company: Company, record: Record) -> bool:
    statement = "SELECT true FROM audit.entries WHERE topic = $1 AND ce_id = $2"
    return bool(await company.value("audit", statement, record.topic, record.id))
