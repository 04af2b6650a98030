import pytest

from dsr.domain.verification import counted, hashed, is_finding, may_write, network, opens


def test_every_secret_of_a_request_opens_it_and_no_other_does() -> None:
    hashes = [hashed("first"), hashed("second")]
    assert opens("first", hashes)
    assert opens("second", hashes)
    assert not opens("third", hashes)
    assert not opens("", hashes)
    assert not opens("first", [])


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("nonsense", "unknown"),
        (None, "unknown"),
    ],
)
def test_an_address_counts_as_its_network(host: str | None, expected: str) -> None:
    assert network(host) == expected


def test_more_than_twenty_wrong_secrets_an_hour_are_a_finding() -> None:
    assert not is_finding(20)
    assert is_finding(21)


def test_an_address_gets_three_mails_an_hour() -> None:
    assert [may_write(sent, repeated=False) for sent in range(5)] == [True, True, True, False, False]


def test_a_repeat_of_a_mail_is_no_further_one() -> None:
    assert may_write(3, repeated=True)


def test_an_account_counts_by_its_address_and_any_other_by_its_mailbox() -> None:
    assert counted("a1", b"address", b"mailbox") == b"address"
    assert counted(None, b"address", b"mailbox") == b"mailbox"
