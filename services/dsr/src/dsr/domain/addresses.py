"""What counts as a mail address. Narrower than RFC 5321: nothing that could end a header or hide a second address."""

import re

_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?P<local>{_LOCAL})@(?:{_LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?")


def parse(typed: str) -> str | None:
    """The address without blanks around it, or None where it is none.

    An unquoted local part of at most 64 characters and a domain of letters, digits and hyphens (RFC 5321 4.5.3.1).
    """
    if len(typed) > 320:
        return None
    address = typed.strip(" \t")
    found = _ADDRESS.fullmatch(address)
    if not found or len(address) > 254 or len(found["local"]) > 64:
        return None
    return address


def normalised(address: str) -> str:
    """The form in which two addresses are compared: case does not matter, dots and tags do."""
    return address.strip().lower()


def mailbox(address: str) -> str:
    """Where mail to it arrives as a rule: without the tag behind a plus, of which anybody can make up any number."""
    local, _, domain = normalised(address).rpartition("@")
    return f"{local.partition('+')[0] or local}@{domain}"
