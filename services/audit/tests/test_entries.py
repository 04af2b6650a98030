"""Every record becomes an entry, and no entry holds what it must not."""

import hashlib
import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.domain.entries import ENVELOPE, Entry, entry_of
from privacy_contracts.accesses import PersonalDataAccessed
from privacy_contracts.accounts import AccountStated
from privacy_contracts.fields import Personal
from privacy_contracts.notices import NoticeSent
from privacy_contracts.requests import RequestReceived

from .records import AT, REQUEST, TOPICS, Header, deletion, keyed, of, raw, record

ADDRESS = "maria.rossi@example.com"


def entry(topic: str, value: bytes | None, *headers: Header, key: bytes | None = None) -> Entry:
    return entry_of(raw(topic, value, headers, key=key), TOPICS[topic], keyed)


def stated() -> AccountStated:
    return AccountStated(
        id="a1", version=1, email=Personal(ADDRESS), name=Personal("Maria Rossi"), region="US-CA", registered_at=AT
    )


def test_an_event_keeps_envelope_payload_and_the_hash_of_its_bytes() -> None:
    made = record(id="one", sequence=7)
    kept = entry_of(made, TOPICS["requests"], keyed)
    assert (kept.source, kept.id, kept.type, kept.sequence) == ("dsr", "one", "deletion.requested", 7)
    assert (kept.subject, kept.request, kept.time, kept.key) == ("account/a1", REQUEST, AT, str(REQUEST))
    assert kept.payload is not None
    assert json.loads(kept.payload) == json.loads(made.value or b"")
    assert (
        kept.body_hash == hashlib.sha256(made.value or b"").digest() == hashlib.sha256(kept.payload.encode()).digest()
    )
    assert ("ce_id", "one") in kept.headers
    assert (kept.omitted, kept.foreign_source) == (None, False)


@pytest.mark.promise(76)
def test_from_accounts_the_envelope_only() -> None:
    kept = entry_of(of(stated()), TOPICS["accounts"], keyed)
    assert (kept.payload, kept.omitted, kept.subject) == (None, "personal", "account/a1")
    assert kept.body_hash != hashlib.sha256(stated().to_bytes()).digest(), "whoever guesses the body must not see it"
    assert ADDRESS not in repr(kept)
    assert "Rossi" not in repr(kept)


def test_an_account_on_another_topic_is_not_kept() -> None:
    stray = of(stated())
    kept = entry("requests", stray.value, *stray.headers)
    assert (kept.payload, kept.omitted) == (None, "misplaced")


def test_fields_that_the_contract_does_not_know_are_not_kept() -> None:
    body = json.dumps(json.loads(deletion().to_bytes()) | {"email": ADDRESS}).encode()
    kept = entry("requests", body, *record().headers)
    assert kept.payload is not None
    assert ADDRESS not in kept.payload
    assert kept.body_hash == hashlib.sha256(body).digest()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe\x00",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"request": "\\u0000"}',
        b"NaN",
        b"[" * 100_000,
        None,
    ],
)
def test_poison_becomes_envelope_and_hash(body: bytes | None) -> None:
    kept = entry("requests", body, *record(id="one").headers)
    assert (kept.id, kept.payload, kept.omitted) == ("one", None, "undecodable")
    assert kept.body_hash == keyed(body or b"")


def test_a_body_that_other_readers_refuse_is_no_payload_here_either() -> None:
    """Readers take types strictly: an attempt written as text is none."""
    body = json.dumps(json.loads(deletion().to_bytes()) | {"attempt": "1"}).encode()
    kept = entry("requests", body, *record().headers)
    assert (kept.payload, kept.omitted) == (None, "undecodable")


def test_an_unknown_type_keeps_its_envelope() -> None:
    kept = entry("requests", b'{"email":"x"}', ("ce_type", b"request.reopened"), ("ce_source", b"dsr"), ("ce_id", b"1"))
    assert (kept.type, kept.payload, kept.omitted) == ("request.reopened", None, "unknown_type")


def test_without_headers_and_key_there_is_still_an_entry() -> None:
    kept = entry("requests", b"hello")
    assert (kept.source, kept.id, kept.type, kept.subject, kept.key, kept.headers) == (None, None, None, None, None, [])
    assert kept.identity == ("requests", 0, kept.offset)


def test_what_may_be_an_address_is_kept_from_no_header_and_no_key() -> None:
    address = ADDRESS.encode()
    kept = entry(
        "requests",
        b"",
        *((name, address) for name in sorted(ENVELOPE)),
        ("x-user", address),
        (ADDRESS, b"1"),
        ("x-name", b"Maria"),
        ("ce_id", None),
        key=address,
    )
    assert ADDRESS not in repr(kept)
    assert "Maria" not in repr(kept)
    assert ("x-name", None) in kept.headers


@pytest.mark.parametrize("number", [b"0", b"-1", b"1.5", b"x", b"", b"9" * 30, "²".encode(), b"\xff"])
def test_a_sequence_that_is_none(number: bytes) -> None:
    assert entry("requests", b"", ("ce_sequence", number)).sequence is None


@pytest.mark.parametrize(
    "time", [b"", b"yesterday", b"2026-01-01T00:00:00", b"0001-01-01T00:00:00+23:00", b"9999-12-31T23:59:59-23:00"]
)
def test_a_time_that_is_none(time: bytes) -> None:
    assert entry("requests", b"", ("ce_time", time)).time is None


def test_people_and_cases_are_found_in_the_body() -> None:
    notice = NoticeSent(notice=uuid4(), template="completion", request=REQUEST, account="a1", sent_at=AT)
    access = PersonalDataAccessed(
        access=uuid4(),
        system="dsr",
        actor="service/notifier",
        action="view",
        purpose="request",
        categories=["contact"],
        subject_id="account/a1",
        case=REQUEST,
        accessed_at=AT,
    )
    received = RequestReceived(request=REQUEST, request_type="delete", channel="website", received_at=AT, due_at=AT)
    to_guest = notice.model_copy(update={"account": None})
    about_policy = to_guest.model_copy(update={"request": None})
    found = [
        entry_of(of(event), TOPICS[event.topic], keyed) for event in (notice, access, received, to_guest, about_policy)
    ]
    assert [(each.subject, each.request) for each in found] == [
        ("account/a1", REQUEST),
        ("account/a1", REQUEST),
        (f"request/{REQUEST}", REQUEST),
        (f"request/{REQUEST}", REQUEST),
        (f"notice/{notice.notice}", None),
    ]


HEADERS = st.lists(
    st.tuples(st.sampled_from(sorted(ENVELOPE)) | st.text(max_size=20), st.none() | st.binary(max_size=60)), max_size=12
)


@given(
    st.sampled_from(sorted(TOPICS)),
    st.none() | st.binary(max_size=200) | st.sampled_from([deletion().to_bytes(), stated().to_bytes()]),
    HEADERS,
    st.sampled_from([b"deletion.requested", b"account.stated", b"reply.done", b"consent.changed"]),
    st.none() | st.binary(max_size=40),
)
def test_nothing_raises(topic: str, value: bytes | None, headers: list[Header], kind: bytes, key: bytes | None) -> None:
    kept = entry(topic, value, ("ce_type", kind), *headers, key=key)
    assert len(kept.body_hash) == 32
    assert (kept.payload is None) == (kept.omitted is not None)
    json.dumps(kept.headers).encode()
    assert kept.time is None or kept.time.astimezone(UTC) > datetime(1969, 1, 1, tzinfo=UTC)
