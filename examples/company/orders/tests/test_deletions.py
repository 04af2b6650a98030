"""What the order system answers, and that a kill or a repeat changes nothing about it."""

from datetime import UTC, date, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from privacy_contracts.accounts import AccountDeleted
from privacy_contracts.replies import ReplyDone, ReplyRetained

from .conftest import Bench, deletion, stated, until

REFUSED_BY_DSR = (
    *(".zzz@example.com", "zzz.@example.com", "zzz..z@example.com"),
    *("zzz@example", "zzz@example.123", "zzz@-example.com", "zzz@example..com", "zzz@" + "z" * 64 + ".com"),
    "zzz@" + ".".join(["z" * 62] * 4),
)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.promise(67)
async def test_orders_go_and_the_invoice_stays_until_a_date_under_a_named_law(bench: Bench) -> None:
    async with bench.orders():
        account, other = await bench.customer(), await bench.customer()
        assert (await bench.order(account)).status_code == 201
        assert (await bench.order(other)).status_code == 201
        asked = deletion(account, "marketing", "orders")
        await bench.publish(asked, traceparent=TRACE)
        [answer] = await bench.answered(asked.request)
    assert isinstance(answer.reply, ReplyRetained)
    [item] = answer.reply.items
    assert (item.category, item.legal_basis) == ("invoices", "us.irc.6001")
    assert item.until == date(datetime.now(UTC).year + 4, 4, 15)
    assert await bench.holds("orders", account) == 0
    assert await bench.rows("SELECT name, address FROM invoices WHERE account = $1", account) == [
        ("Ann", "1 Sample Street")
    ]
    assert await bench.rows("SELECT name, email, gone FROM customers WHERE account = $1", account) == [
        (None, None, True)
    ]
    assert await bench.holds("orders", other) == 1
    assert answer.key == str(asked.request)
    assert answer.headers["ce_source"] == "orders"
    assert answer.headers["ce_subject"] == f"account/{account}"
    assert answer.headers["traceparent"] == TRACE
    assert answer.headers["content-type"] == "application/json"


async def test_nothing_kept_is_done_and_nothing_known_is_not_found(bench: Bench) -> None:
    async with bench.orders():
        account = await bench.customer()
        assert (await bench.order(account, invoice=False)).json()["invoice"] is None
        known, unknown = deletion(account), deletion(f"a-{uuid4().hex}")
        await bench.publish(known, unknown)
        [done] = await bench.answered(known.request)
        [not_found] = await bench.answered(unknown.request)
    assert isinstance(done.reply, ReplyDone)
    assert done.reply.records == 2
    assert not_found.reply.type == "reply.not_found"


async def test_a_request_that_names_others_is_left_alone(bench: Bench) -> None:
    async with bench.orders():
        account = await bench.customer()
        await bench.order(account)
        others, marker = deletion(account, "marketing"), deletion(f"a-{uuid4().hex}")
        await bench.publish(others, marker)
        await bench.answered(marker.request)
        assert await bench.holds("orders", account) == 1
        assert await bench.answers(others.request) == []


async def test_an_invoice_whose_time_has_passed_is_no_reason_to_keep_it(bench: Bench) -> None:
    async with bench.orders():
        account = await bench.customer()
        await bench.order(account)
        await bench.rows("UPDATE invoices SET issued_on = '2001-05-01' WHERE account = $1", account)
        asked = deletion(account)
        await bench.publish(asked)
        [answer] = await bench.answered(asked.request)
    assert answer.reply.type == "reply.done"
    assert await bench.holds("invoices", account) == 0


async def test_a_reminder_gets_the_same_answer_under_another_id(bench: Bench) -> None:
    async with bench.orders():
        account = await bench.customer()
        first = deletion(account)
        await bench.publish(first)
        await bench.answered(first.request)
        await bench.publish(deletion(account, request=first.request, attempt=2))
        one, two = await bench.answered(first.request, 2)
    assert one.body == two.body
    assert one.headers["ce_id"] != two.headers["ce_id"]


async def test_an_old_state_brings_nobody_back(bench: Bench) -> None:
    async with bench.orders():
        account = await bench.customer()
        asked = deletion(account)
        await bench.publish(asked)
        await bench.answered(asked.request)
        later = AccountDeleted(id=account, version=8, deleted_at=datetime.now(UTC))
        await bench.publish(stated(account, 7), later, stated(account, 9), stated("a-marker", 1))

        async def has_read_it() -> bool:
            return await bench.holds("customers", "a-marker") == 1

        await until(has_read_it)
        assert (await bench.order(account)).status_code == 404
        assert await bench.rows("SELECT * FROM unreadable") == []  # passed over, not refused by the table's rule
    assert await bench.rows("SELECT name, email, gone FROM customers WHERE account = $1", account) == [
        (None, None, True)
    ]


async def test_killed_in_mid_task_it_comes_back_and_nothing_is_done_twice(bench: Bench) -> None:
    async with bench.orders(TASK_DELAY="30") as process:
        account = await bench.customer()
        await bench.order(account)
        asked = deletion(account)
        await bench.publish(asked)

        async def in_the_middle() -> bool:
            locks = "SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database WHERE locktype = 'advisory'"
            return bool(await bench.rows(f"{locks} AND datname = current_database()"))

        await until(in_the_middle)
        process.kill()
        process.wait()
    assert await bench.holds("orders", account) == 1  # rolled back
    assert await bench.answers(asked.request) == []
    async with bench.orders():
        await bench.answered(asked.request)
    assert await bench.holds("orders", account) == 0
    assert await bench.holds("invoices", account) == 1


async def test_when_its_offsets_are_lost_it_repeats_the_same_answers_under_the_same_ids(bench: Bench) -> None:
    async with bench.orders(SESSION_TIMEOUT_MS="1500"):
        account = await bench.customer()
        await bench.order(account)
        asked = deletion(account)
        await bench.publish(asked)
        await bench.answered(asked.request)
    before = set(await bench.rows("SELECT * FROM answers"))
    await until(bench.has_lost_its_offsets)
    async with bench.orders():
        one, two = await bench.answered(asked.request, 2)
    assert one == two
    assert before <= set(await bench.rows("SELECT * FROM answers"))


def _tear(ledger: Path) -> None:
    with ledger.open("a") as file:
        file.write('\n{"account": "a", "answer": {"items": [{"until": "2030-04-15"}')


async def test_a_line_that_a_crash_tore_anywhere_stops_nobody(bench: Bench) -> None:
    """Torn behind the brace of a part, it ends like a whole one."""
    _tear(Path(bench.environment["ERASURE_LEDGER"]))
    async with bench.orders():
        asked = deletion(await bench.customer())
        await bench.publish(asked)
        await bench.answered(asked.request)


async def test_a_record_that_cannot_be_read_is_noted_and_passed(bench: Bench) -> None:
    asked = deletion(f"a-{uuid4().hex}")
    key, kind = asked.key.encode(), ("ce_type", b"deletion.requested")
    bad: list[tuple[bytes | None, list[tuple[str, bytes | None]]]] = [
        (b"\xff\xfe", [kind]),
        (None, [kind]),
        (b"[" * 100_000, [kind]),
        (b'{"request": "no"}', [kind]),
        (asked.to_bytes().replace(str(asked.request).encode(), b"zzz"), [kind]),
        (stated("a-nul").to_bytes().replace(b"Ann", b"A\\u0000"), [("ce_type", b"account.stated")]),
    ]
    async with bench.orders():
        for body, headers in bad:
            await bench.publish_raw("requests", key, body, headers)
        await bench.publish_raw("requests", key, b"", [("ce_type", b"a.later.type")])
        await bench.publish_raw("requests", key, b"", [("ce_type", None)])
        await bench.publish_raw("requests", None, b"", [])
        await bench.publish(asked)
        await bench.answered(asked.request)
    assert len(await bench.rows("SELECT * FROM unreadable")) == len(bad)


async def test_broken_it_never_answers_and_mended_it_answers_the_reminder(bench: Bench) -> None:
    async with bench.orders(BREAK="1"):
        account = await bench.customer()
        asked = deletion(account)
        await bench.publish(asked)
        await until(bench.has_read_all)
    assert await bench.answers(asked.request) == []
    async with bench.orders():
        await bench.publish(deletion(account, request=asked.request, attempt=2))
        assert await bench.answered(asked.request)


async def test_it_starts_without_kafka_and_says_so(bench: Bench) -> None:
    async with bench.orders(ready=False, KAFKA_BOOTSTRAP="127.0.0.1:9") as process:

        async def says_so() -> bool:
            assert process.poll() is None
            async with httpx.AsyncClient() as http:
                try:
                    answer = await http.get(f"{bench.url}/readyz")
                except httpx.TransportError:
                    return False
            return answer.status_code == 503 and answer.json() == {"missing": ["kafka"]}

        await until(says_so)


async def test_a_wrong_order_is_refused_without_repeating_it(bench: Bench) -> None:
    async with bench.orders(), httpx.AsyncClient() as http:
        account = await bench.customer()
        assert (await bench.order("nobody")).status_code == 404
        for wrong in (
            {"cents": -1},
            {"item": ""},
            {"item": "zzz\0"},
            {"ship_to": "zzz" * 200},
            {"account": "zzz zzz"},
            {"cents": "zzz"},
        ):
            answer = await bench.order(**({"account": account} | wrong))
            assert answer.status_code == 422
            assert answer.headers["content-type"] == "application/problem+json"
            assert "zzz" not in answer.text
        for wrong_guest in (
            {"email": "zzz@example.com"},
            {"name": "zzz"},
            {"email": "zzz", "name": "Eve"},
            {"email": "zzz zzz@example.com", "name": "Eve"},
            {"email": "zzz@example.com\n", "name": "Eve"},
            {"email": '"zzz"@example.com', "name": "Eve"},
            *({"email": email, "name": "Eve"} for email in REFUSED_BY_DSR),
            {"email": "zzz@example.com", "name": ""},
        ):
            answer = await bench.order(None, **wrong_guest)
            assert answer.status_code == 422
            assert "zzz" not in answer.text
        assert (await bench.order(account, email="zzz@example.com", name="Eve")).status_code == 422
        assert (await http.post(f"{bench.url}/orders", content=b"zzz")).status_code == 400
        assert (await http.post(f"{bench.url}/orders", content=b"z" * 20_000)).status_code == 413
        assert (await bench.order(account, cents=5.0, invoice=False)).status_code == 201
    assert await bench.holds("orders", account) == 1
