"""The words of the notice on the home page."""

from consent.domain.policies import Announcement
from consent.pages.dates import day


def headline(announced: Announcement, time_zone: str) -> str:
    """One sentence: what happened to the policy, and on which day where the company is."""
    return f"Our privacy policy was {announced.happened} on {day(announced.version.published_at, time_zone)}."
