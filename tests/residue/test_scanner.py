"""The scanner finds every form wherever it begins; and the forms are those that libraries make."""

import base64
import hashlib
import json
import quopri
from email.charset import QP, Charset
from email.header import Header
from urllib.parse import quote, urlencode

import pytest

from .forms import KINDS, forms
from .scanner import Hit, Scanner

ADDRESS = "Ada.3f9a8b7c=x+tag@Example.org"
NAME = "Zoë O'Hara-7c6d5e4f & Søn"
WORDS = Charset("utf-8")
WORDS.header_encoding = QP


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [ADDRESS, NAME])
def test_every_form_is_found_wherever_it_begins(kind: str, value: str) -> None:
    scanner = Scanner({"it": value})
    for form in forms(value)[kind]:
        for before in range(9):
            assert (Hit("it", kind), form) in scanner.forms_in(b"x" * before + form)
            assert (Hit("it", kind), form) in scanner.forms_in(b"x" * before + form + b"and more than that")
            assert (Hit("it", kind), form) not in scanner.forms_in(b"x" * before + form[:-1])


def seen(searched: str | bytes, kind: str, value: str) -> bool:
    """Whether what a library made of a value is recognised."""
    found = Scanner({"it": value}).forms_in(searched.encode() if isinstance(searched, str) else searched)
    return any(hit.kind == kind for hit, _ in found)


@pytest.mark.parametrize("value", [ADDRESS, NAME])
def test_what_libraries_make_of_a_value_is_recognised(value: str) -> None:
    sentence = f"to {value}, today"
    assert seen(sentence.casefold(), "as is", value)
    assert seen(sentence.encode("utf-16"), "utf-16", value)
    for before in range(3):
        assert seen(base64.b64encode(b"." * before + sentence.encode()), "base64", value)
        assert seen(base64.urlsafe_b64encode(b"." * before + sentence.encode()), "base64", value)
    assert seen(sentence.encode().hex(":").replace(":", ""), "hex", value)
    assert seen(quopri.encodestring(value.encode()), "quoted-printable", value)
    assert seen(Header(value, WORDS).encode(), "quoted-printable", value)
    assert seen(quote(sentence), "percent", value)
    assert seen(urlencode({"who": sentence}), "percent", value)
    assert seen(json.dumps({"who": sentence}), "escaped", value)
    assert seen(hashlib.sha256(value.lower().encode()).digest(), "hash", value)
    assert seen(hashlib.md5(value.encode(), usedforsecurity=False).hexdigest(), "hash as text", value)


def test_a_keyed_hash_is_no_form() -> None:
    assert not Scanner({"it": ADDRESS}).forms_in(hashlib.sha256(b"key" + ADDRESS.encode()).digest())


def test_a_value_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        Scanner({"it": "Ada"})
