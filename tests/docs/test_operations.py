"""The table of settings in `docs/operations.md` has each setting of each service, as the code has it."""

import importlib
from dataclasses import dataclass

import pytest
from pydantic.fields import FieldInfo

import chassis.settings
from local_stack import ROOT
from notifier.settings import Settings as NotifierSettings

EVERY = "all"
SERVICES = ("consent", "dsr", "notifier", "audit", "accounts")
WORDS = {"INSTANCE": "the host's name"}
"""A default that is found out."""


@dataclass(frozen=True)
class Row:
    """One line of the table; `default` and `refused` as they stand there."""

    of: str
    default: str
    refused: str


@pytest.fixture(scope="module")
def table() -> dict[str, Row]:
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    section = text.partition("\n## Settings\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    found = {name.strip("`"): Row(of, default, "".join(refused).strip(" |")) for name, of, _, default, *refused in rows}
    assert len(found) == len(rows)
    return found


def fields() -> dict[str, tuple[str, FieldInfo]]:
    """Every setting by its name in the environment, and whose it is."""
    every = chassis.settings.Settings.model_fields
    found = {name.upper(): (EVERY, field) for name, field in every.items()}
    for service in SERVICES:
        own = importlib.import_module(f"{service}.settings").Settings.model_fields
        found |= {name.upper(): (service, field) for name, field in own.items() if name not in every}
    return found


def said(name: str, field: FieldInfo) -> str:
    """How a default stands in the table."""
    if field.is_required():
        return "needed"
    default = field.get_default()
    return WORDS.get(name) or ("none" if default is None else f"`{default}`")


def test_the_table_has_every_setting_its_service_and_its_default(table: dict[str, Row]) -> None:
    wanted = {name: (service, said(name, field)) for name, (service, field) in fields().items()}
    assert {name: (row.of, row.default) for name, row in table.items()} == wanted


def test_the_table_says_what_is_refused_outside_a_local_environment(table: dict[str, Row]) -> None:
    checked = {name.upper() for name in chassis.settings._SECURE} | {"SMTP_TLS"}
    assert {name for name, row in table.items() if row.refused} == checked


def test_mail_in_the_clear_is_refused_outside_a_local_environment() -> None:
    """The one rule that a service adds."""
    with pytest.raises(ValueError, match="SMTP_TLS"):
        NotifierSettings._mail_is_encrypted(NotifierSettings.model_construct(environment="production", smtp_tls="none"))  # type: ignore[operator]  # pydantic keeps the function
