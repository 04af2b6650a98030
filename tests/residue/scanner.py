"""Searches many bytes for many forms at once.

Of each form the first eight windows of eight bytes are known; of what is searched every eighth window is looked up.
So one of them is met wherever a form begins, and what is met is compared in full.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from .forms import forms

_WINDOW = 8
_SHORTEST = 2 * _WINDOW - 1


class Hit(NamedTuple):
    """A form of a value that was found: `value` is its name, such as `ada's address`."""

    value: str
    kind: str


class Scanner:
    """Knows every form of some values, each under its name."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._met: dict[int, set[tuple[Hit, bytes]]] = defaultdict(set)
        for name, value in values.items():
            for kind, each in forms(value).items():
                for form in each:
                    self.know(Hit(name, kind), form)

    def know(self, hit: Hit, form: bytes) -> None:
        """Search for these bytes too. Raises `ValueError` where they are too few."""
        if len(form) < _SHORTEST:
            raise ValueError(f"{hit.value} is too short to be searched for: {form!r}")
        for start in range(_WINDOW):
            [window] = memoryview(form[start : start + _WINDOW]).cast("Q")
            self._met[window].add((hit, form))

    def forms_in(self, searched: bytes) -> set[tuple[Hit, bytes]]:
        """Which forms stand in these bytes."""
        whole = memoryview(searched)[: len(searched) // _WINDOW * _WINDOW].cast("Q")
        maybe = {one for window in set(filter(self._met.__contains__, whole)) for one in self._met[window]}
        return {(hit, form) for hit, form in maybe if form in searched}
