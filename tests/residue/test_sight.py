"""The scanner is blind nowhere: what was planted, in each form and in each place that can hold it, is found."""

import pytest

from .conftest import World
from .forms import KINDS
from .planted import PLACES, expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_what_was_planted_is_found(world: World, place: str, kind: str) -> None:
    seen = {form for hit, form in world.sight.get(place, set()) if hit.kind == kind}
    assert expected(place, kind) - seen == set()
