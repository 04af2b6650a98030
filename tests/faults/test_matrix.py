"""Each service, Kafka and Postgres, failing in each way at each moment: six cells of them, drawn by `SEED`.

`make faults` plays all of them.
"""

import os
import time
from collections.abc import Callable

import pytest

from ..people import Company
from .cells import play, settle
from .matrix import ALL, CELLS, FAULTS, MOMENTS, VICTIMS, drawn
from .moments import BEGIN
from .place import Place


def test_every_combination_is_a_cell_or_says_why_it_is_none() -> None:
    assert len({str(cell) for cell in ALL}) == len(VICTIMS) * len(FAULTS) * len(MOMENTS)
    assert set(MOMENTS) == set(BEGIN)
    senseless = {cell.makes_no_sense for cell in ALL} - {None}
    assert len(senseless) == 2
    assert len(CELLS) == len(ALL) - sum(cell.makes_no_sense is not None for cell in ALL) == 162


@pytest.mark.parametrize("seed", range(20))
def test_what_is_drawn_has_every_victim_every_fault_and_every_moment(seed: int) -> None:
    cells = drawn(seed)
    assert cells == drawn(seed)
    assert {cell.victim for cell in cells} == set(VICTIMS)
    assert {cell.fault for cell in cells} == set(FAULTS)
    assert {cell.moment for cell in cells} == set(MOMENTS)


async def test_nothing_is_lost_or_done_twice_whatever_fails(
    place: Place, victims: Company, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("SEED", time.time_ns() % 2**32))
    cells = drawn(seed)
    record_property("faults: SEED", f"{seed}: {' '.join(map(str, cells))}")
    stories = []
    for cell in cells:
        began = time.monotonic()
        stories.append(await play(place, victims, cell))
        print(f"{cell}: ready again after {time.monotonic() - began:.1f} s")
    await settle(victims, *stories)
