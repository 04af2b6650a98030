"""What consent once said brings its restored database forward."""

from chassis.testing import restate
from privacy_contracts import EVENTS

from .conftest import Consent


async def forget(consent: Consent, *tables: str) -> None:
    """Have the database of before the first choice but its words."""
    for table in tables:
        await consent.runtime.pool.execute(f"DELETE FROM consent.{table}")  # noqa: S608 - the test names it


async def test_a_withdrawal_and_a_decision_are_there_again(consent: Consent) -> None:
    await consent.choose("granted")
    await consent.ask()
    consent.advance(seconds=1)
    await consent.choose("withdrawn")
    said = [EVENTS[each.type].model_validate(each.body) for each in await consent.emitted()]
    await forget(consent, "decisions", "choices")
    await consent.runtime.pool.execute("DELETE FROM chassis.outbox")
    assert await restate(consent.app, consent.runtime, *said) == [True, True, True]
    assert await restate(consent.app, consent.runtime, said[0]) == [True]
    assert (await consent.rows("choices"), await consent.rows("decisions"), await consent.emitted()) == (2, 1, [])
    assert (await consent.ask()).json()["reason"] == "withdrawn"
    consent.advance(seconds=1)
    assert (await consent.choose("granted")).json()["version"] == 3


async def test_a_withdrawal_holds_whatever_its_words_were_and_a_grant_does_not(consent: Consent) -> None:
    await consent.choose("granted")
    [before] = [EVENTS[each.type].model_validate(each.body) for each in await consent.emitted()]
    lost = {"text_hash": "0" * 64}
    withdrawn = before.model_copy(update=lost | {"version": 2, "choice": "withdrawn"})
    granted = before.model_copy(update=lost | {"version": 3})
    first = before.model_copy(update=lost | {"subject_id": "account/8"})
    assert await restate(consent.app, consent.runtime, withdrawn, granted, first) == [False] * 3
    assert (await consent.ask()).json()["reason"] == "withdrawn"
    assert not (await consent.ask("account/8")).json()["allowed"]
    consent.advance(seconds=1)
    for subject, version in (("account/7", 4), ("account/8", 2)):
        assert (await consent.choose("granted", subject)).json()["version"] == version
        assert (await consent.ask(subject)).json()["allowed"]


async def test_words_and_policies_that_stand_in_no_event_are_told_as_lost(consent: Consent) -> None:
    await consent.choose("granted", text="New words?")
    await consent.publish()
    said = [EVENTS[each.type].model_validate(each.body) for each in await consent.emitted()]
    lost = [each.model_copy(update={"text_hash": "0" * 64, "version": 2}) for each in said[:1]]
    assert await restate(consent.app, consent.runtime, *lost, said[1]) == [False, False]
    assert await consent.rows("choices") == 2
