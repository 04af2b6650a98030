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


def may_write(requests_in_an_hour: int) -> bool:
    """Whether an address may get one more mail, when `requests_in_an_hour` have led to one already."""
    return requests_in_an_hour < MESSAGES_PER_HOUR
