"""A bad deploy does not turn everybody's events into dead letters, and leaves nothing that a good one cannot mend."""

from pathlib import Path

from ..invariants import assert_all_hold
from ..people import Company
from .bad_deploy import deploy_and_mend


async def test_a_bad_deploy_is_stopped_and_a_good_one_mends_what_it_left(company: Company, tmp_path: Path) -> None:
    """Its handler says at once that nothing can be applied; `make faults` has one that fails and is tried again."""
    customer = await deploy_and_mend(company, tmp_path, "Rejected")
    await assert_all_hold(company, {await company.delete(customer): customer})
