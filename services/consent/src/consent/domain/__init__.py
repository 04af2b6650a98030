"""The decisions of the consent service, pure: state, command and time in, events or a refusal out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """Why something was not done; `code` is machine-readable, the API turns it into a problem."""

    code: str
