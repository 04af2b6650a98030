"""The HTTP edge, for auditors. Every answer is recorded as a reading, in one transaction, before it leaves."""

from fastapi import APIRouter

from audit.api import entries, findings, persons
from audit.settings import Settings
from chassis.app import Runtime


def routers(runtime: Runtime[Settings]) -> list[APIRouter]:
    """Everything that an auditor may ask."""
    return [entries.router(runtime), findings.router(runtime), persons.router(runtime)]
