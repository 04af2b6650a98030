"""Who may open a request. A secret is held as its hash only, every link of a request stays valid, wrong ones count."""

import hashlib
import hmac
from collections.abc import Iterable
from datetime import timedelta
from ipaddress import ip_address, ip_network

WRONG_SECRETS_PER_HOUR = 20
"""More than this many, at one link or from one network, is a finding."""

MESSAGES_PER_HOUR = 3
"""Requests per address and hour that lead to a mail; more would let anybody flood a mailbox."""

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def hashed(secret: str) -> bytes:
    """What is stored of a secret (SHA-256; 256 random bits need no stretching)."""
    return hashlib.sha256(secret.encode()).digest()


def opens(secret: str, hashes: Iterable[bytes]) -> bool:
    """Whether the secret is one of those minted. Takes equally long whichever it is."""
    given = hashed(secret)
    found = False
    for known in hashes:
        found |= hmac.compare_digest(given, known)
    return found


def network(host: str | None) -> str:
    """The network an address belongs to: /24 of IPv4, /48 of IPv6; `unknown` for anything else."""
    try:
        address = ip_address(host or "")
    except ValueError:
        return "unknown"
    if address.version == 6 and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(ip_network((address, 24 if address.version == 4 else 48), strict=False))


def is_finding(wrong_in_an_hour: int) -> bool:
    """Whether so many wrong secrets in an hour must be looked at."""
    return wrong_in_an_hour > WRONG_SECRETS_PER_HOUR


def counted(account: str | None, address: bytes, mailbox: bytes) -> bytes:
    """By which keyed hash a mail counts: by the address where it is an account's, else by the mailbox.

    Apart, so that made-up tags neither flood a mailbox nor use up the links of the account that lives there.
    """
    return address if account else mailbox


def may_write(requests_in_an_hour: int, *, repeated: bool) -> bool:
    """Whether a mail may go, when so many requests have led to one already; one of them repeated is no further mail."""
    return repeated or requests_in_an_hour < MESSAGES_PER_HOUR
