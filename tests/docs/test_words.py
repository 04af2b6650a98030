"""Pages and mails call a system, a kind of data and a law by the same words, though each service has its own copy."""

from dsr.pages import words
from notifier import letters


def test_pages_and_mails_use_the_same_words() -> None:
    assert words.SYSTEMS == letters.SYSTEMS
    assert words.CATEGORIES == letters.CATEGORIES
    assert words.LAWS == letters.LAWS
    assert words.REASONS == letters.REASONS
