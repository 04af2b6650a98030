"""One cell of the matrix, from its beginning to the proof that nothing was lost or done twice."""

from ..invariants import assert_all_hold
from ..people import Company
from .matrix import Cell
from .moments import BEGIN
from .place import Place
from .story import Story
from .strikes import Strike


async def play(place: Place, company: Company, cell: Cell) -> Story:
    """Let it happen, and see everybody ready again. `settle` sees what came of it."""
    story = Story(company, cell, await company.register("cell", order=True))
    strike = Strike(place, story)
    async with BEGIN[cell.moment](story):
        await strike.begin()
    await strike.last()
    await strike.end()
    return story


async def settle(company: Company, *stories: Story) -> None:
    """All deletions come to their end, and every invariant holds."""
    for story in stories:
        await story.finish()
    deleted = {request: customer for story in stories for request, customer in story.deleted.items()}
    unknown = {request: email for story in stories for request, email in story.unknown.items()}
    await assert_all_hold(company, deleted, unknown)
