"""One trace from the request over the outbox and Kafka to the audit record."""

import secrets

from privacy_contracts.topology import systems

from ..log import read
from ..people import Company, eventually


async def test_a_request_and_what_follows_at_once_carry_one_trace(company: Company) -> None:
    customer = await company.register("ned")
    trace = secrets.token_hex(16)
    request = await company.ask(customer.email, headers={"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"})

    async def recorded() -> dict[str, str] | None:
        entries = await company.trail(request=request, type="request.received")
        return dict(entries[0]["headers"]) if entries else None

    [published] = [record for record in await read(company.stack, "requests") if record.key == request.encode()][:1]
    assert published.header("traceparent").split("-")[1] == trace
    headers = await eventually("the entry", recorded)
    assert headers["traceparent"] == published.header("traceparent")


async def test_the_trace_goes_on_in_what_a_consumer_emits(company: Company) -> None:
    """The timer's trace at the point of no return is that of the answers to it, in every system on Kafka."""
    customer = await company.register("oda", order=True)
    request = await company.delete(customer)
    events = [record for record in await read(company.stack) if record.key == request.encode()]
    asked = {
        system: record.header("traceparent").split("-")[1]
        for record in events
        if record.type == "deletion.requested"
        for system in record.body["systems"]
    }
    on_kafka = [name for name, system in systems().by_name.items() if system.transport == "kafka" and name != "dsr"]
    answered = {
        system: record.header("traceparent").split("-")[1]
        for record in events
        for system in on_kafka
        if record.topic == f"replies.{system}"
    }
    assert answered == {system: asked[system] for system in on_kafka}
