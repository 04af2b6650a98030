"""Where a mail goes, and what is recorded of reading it."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.domain.addresses import Access, Undeliverable, accessed, mailbox, recipient, to_write
from notifier.domain.notices import Notice

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ONE, TWO = (UUID(int=number) for number in (1, 2))


@pytest.mark.parametrize(
    "address", ["one@example.com", "o.n-e+tag@sub.example.com", "päl@example.com", " one@example.com "]
)
def test_an_address_can_be_written_to(address: str) -> None:
    assert mailbox(address) == address.strip()


def test_a_domain_in_another_script_is_written_in_ascii() -> None:
    assert mailbox("one@bücher.example.com") == "one@xn--bcher-kva.example.com"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "one",
        "@example.com",
        "one@",
        "one two@example.com",
        "one@example.com\r\nBcc: two@example.com",
        "one@example.com>, <two@example.com",
        "one@two@example.com",
        "one@.example.com",
        "one@exa..mple.com",
        "o" * 65 + "@example.com",
        "one@" + "e" * 64 + ".com",
        "one@" + "example." * 40 + "com",
        "\u2028one@example.com\u2028x",
    ],
)
def test_no_mail_goes_to_what_is_no_mailbox(address: str) -> None:
    assert mailbox(address) is None


@given(st.text(max_size=300))
def test_a_mailbox_never_breaks_out_of_its_line(text: str) -> None:
    found = mailbox(text)
    if found is not None:
        assert found.count("@") == 1
        assert len(found) <= 254
        assert found.isprintable()
        assert not set(found) & set('<>, ;"\r\n')


def test_a_mail_goes_to_a_mailbox_or_says_why_not() -> None:
    assert recipient(" one@example.com ") == "one@example.com"
    assert recipient("no address") == Undeliverable("no_address")
    assert recipient("") == Undeliverable("no_address")
    assert recipient(None) == Undeliverable("account_deleted")


def test_an_opened_address_is_recorded_with_who_read_it_and_for_which_notice() -> None:
    access = to_write(Notice(ONE, "policy_revised", "policy_revised", account="a1", policy_version=2), NOW)
    assert access == Access("service/notifier", "notice", NOW, ONE)
    event = accessed("account/a1", access, TWO)
    assert (event.subject_id, event.actor, event.purpose, event.case) == (
        "account/a1",
        "service/notifier",
        "notice",
        ONE,
    )
    assert (event.access, event.categories, event.accessed_at) == (TWO, ["contact"], NOW)
