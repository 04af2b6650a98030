"""The forms in which a value may stand somewhere: as it is, as text is folded and encoded on its way, and hashed.

A keyed hash and a sealed value are none of them: without the key they tell nothing. Nor is an encoding of an encoding,
other than what `places` takes apart: escapes of a dump, soft line breaks, packed batches.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterator
from email.quoprimime import header_encode
from itertools import product
from urllib.parse import quote, quote_plus

HASHES = ("md5", "sha1", "sha256", "sha512")
BINARY = ("utf-16", "latin-1", "hash")
"""Kinds of forms that need not be text."""


def forms(value: str) -> dict[str, set[bytes]]:
    """Every form of a value by kind. Each is at least 15 bytes long where the value is 16 characters."""
    found: dict[str, set[bytes]] = {kind: set() for kind in KINDS}
    for text in {value, value.lower(), value.upper(), value.casefold(), value.title()}:
        for kind, encode in ENCODINGS.items():
            found[kind] |= set(encode(text))
    return found


def _as_is(text: str) -> Iterator[bytes]:
    yield text.encode()


def _utf16(text: str) -> Iterator[bytes]:
    yield text.encode("utf-16-le")
    yield text.encode("utf-16-be")


def _latin1(text: str) -> Iterator[bytes]:
    yield text.encode("latin-1", "replace")


def _base64(text: str) -> Iterator[bytes]:
    """What is certain of it wherever in a group of three bytes it begins, in both alphabets."""
    for shift, altchars in product(range(3), (None, b"-_")):
        data = bytes(shift) + text.encode()
        yield base64.b64encode(data, altchars)[(0, 2, 3)[shift] : len(data) * 8 // 6]


def _hex(text: str) -> Iterator[bytes]:
    yield text.encode().hex().encode()
    yield text.encode().hex().upper().encode()


def _quoted_printable(text: str) -> Iterator[bytes]:
    """As a body (RFC 2045, 6.7) and as an encoded word of a header (RFC 2047, 4.2), without its line breaks."""
    yield b"".join(bytes([c]) if 32 <= c < 127 and c != 61 else b"=%02X" % c for c in text.encode())
    yield header_encode(text.encode(), "utf-8").removeprefix("=?utf-8?q?").removesuffix("?=").encode()


def _percent(text: str) -> Iterator[bytes]:
    for once in (quote(text, safe=""), quote_plus(text), quote(text, safe="@'/!*()")):
        yield once.encode()
        yield re.sub("%..", lambda escape: escape[0].lower(), once).encode()


def _escaped(text: str) -> Iterator[bytes]:
    """As JSON in ASCII, with either case of digits; as HTML."""
    once = json.dumps(text)[1:-1]
    yield once.encode()
    yield re.sub(r"(?<=\\u)....", lambda digits: digits[0].upper(), once).encode()
    yield html.escape(text).encode()
    yield html.escape(text).replace("&#x27;", "&#39;").encode()


def _digests(text: str) -> Iterator[bytes]:
    for name in HASHES:
        yield hashlib.new(name, text.encode(), usedforsecurity=False).digest()


def _hashes_as_text(text: str) -> Iterator[bytes]:
    for digest in _digests(text):
        yield from (digest.hex().encode(), digest.hex().upper().encode())
        yield from (base64.b64encode(digest).rstrip(b"="), base64.urlsafe_b64encode(digest).rstrip(b"="))


ENCODINGS: dict[str, Callable[[str], Iterator[bytes]]] = {
    "as is": _as_is,
    "utf-16": _utf16,
    "latin-1": _latin1,
    "base64": _base64,
    "hex": _hex,
    "quoted-printable": _quoted_printable,
    "percent": _percent,
    "escaped": _escaped,
    "hash": _digests,
    "hash as text": _hashes_as_text,
}
KINDS = tuple(ENCODINGS)
