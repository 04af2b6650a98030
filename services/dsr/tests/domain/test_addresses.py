import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsr.domain.addresses import normalised, parse


@pytest.mark.parametrize(
    "typed",
    ["ann@example.com", "  ann@example.com ", "a.b+tag@mail.example.org", "o'neil@example.com", "x@a-b.example.com"],
)
def test_usual_addresses_are_taken(typed: str) -> None:
    assert parse(typed) == typed.strip()


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ann",
        "ann@",
        "@example.com",
        "ann@example",
        "ann@@example.com",
        "ann@example.com\nBcc: bob@example.com",
        "ann@example.com\r\n",
        "\nann@example.com",
        "ann@example.com,bob@example.com",
        "Ann <ann@example.com>",
        '"ann bob"@example.com',
        "ann@-example.com",
        "ann@example-.com",
        "ann..b@example.com",
        ".ann@example.com",
        "ann@example..com",
        "ann@[192.0.2.1]",
        "ann@example.123",
        "änn@example.com",
        "ann@exämple.com",
        "ann%0a@example.com\x00",
        "a" * 65 + "@example.com",
        "ann@" + "a" * 64 + ".com",
        "a@" + ".".join(["b" * 60] * 5) + ".com",
        " " * 400 + "ann@example.com",
    ],
)
def test_anything_else_is_not(typed: str) -> None:
    assert parse(typed) is None


@given(st.text(alphabet=st.sampled_from('ab@.\r\n \t,;:<>"()+-_%\x00ä'), max_size=40))
def test_what_is_taken_can_never_end_a_header_or_name_two_people(typed: str) -> None:
    address = parse(typed)
    assert address is None or (address.count("@") == 1 and not set(address) & set('\r\n\t ,;:<>"()\x00'))


def test_case_does_not_matter_when_addresses_are_compared_but_tags_do() -> None:
    assert normalised("Ann@Example.COM") == normalised(" ann@example.com")
    assert normalised("ann+a@example.com") != normalised("ann@example.com")
