"""Schemathesis against every service's own OpenAPI document: no server error, and answers as the document says.

It runs last: what it publishes and registers is of no use to anybody.
"""

import time
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from local_stack.stack import Stack

from .operations import OPERATIONS, SERVICES

SECONDS = 5.0
"""For each service."""
EXAMPLES = 8


@pytest.mark.last
@pytest.mark.parametrize("service", [name for name in SERVICES if name != "notifier"])
def test_no_input_breaks_a_service(stack: Stack, service: str) -> None:
    document = _short(httpx.get(f"{stack.url(service)}/openapi.json").raise_for_status().json())
    pairs = "prefixItems" in str(document)  # which the schema check takes for an error of the document
    checks = (not_a_server_error, content_type_conformance, *(() if pairs else (response_schema_conformance,)))
    clients = {(each.method, each.path): each.client for each in OPERATIONS if each.service == service}
    tokens = {client: stack.token(client, service) for client in set(clients.values()) if client}
    schema = schemathesis.openapi.from_dict(document)
    deadline = time.monotonic() + SECONDS
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        client = clients[operation.method.upper(), operation.path]
        headers = {"Authorization": f"Bearer {tokens[client]}"} if client else {}
        _try(operation, stack.url(service), headers, deadline, checks)


def _short(schema: Any) -> Any:
    """The document without its long texts, which take more time to make up than to send."""
    if isinstance(schema, list):
        return [_short(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    known = {name: _short(value) for name, value in schema.items()}
    if isinstance(known.get("maxLength"), int) and known["maxLength"] > 100:
        known = {name: value for name, value in known.items() if name != "pattern"} | {"maxLength": 100}
    return known


def _try(operation: Any, url: str, headers: dict[str, str], deadline: float, checks: Any) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        if time.monotonic() > deadline:
            return
        response = case.call(base_url=url, headers=headers)
        if response.status_code >= 400:
            assert (
                response.headers["content-type"] == ["application/problem+json"]
                or response.headers["content-type"] == "application/problem+json"
            )
            assert response.status_code < 500, response.text
            return
        case.validate_response(response, checks=checks)

    check()
