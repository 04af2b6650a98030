"""One page from which everything of the demo can be looked at: shop, form, inbox, status, audit trail, live figures."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from html import escape
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from local_stack.demo.telling import Telling
from local_stack.observe import trail
from local_stack.ports import LOOPBACK, free_port
from local_stack.sink.pages import STYLE

SERVICES = ("dsr", "consent", "notifier", "audit", "accounts")
GAUGES = {
    "consumer_lag_seconds": "lag, s",
    "outbox_oldest_seconds": "oldest in the outbox, s",
    "dead_letters": "dead letters",
}
_LAYOUT = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Look around</title>
<meta name="viewport" content="width=device-width"><style>{style}
.cards{{display:grid;grid-template-columns:repeat(auto-fit,minmax(16rem,1fr));gap:.8rem;padding:0;list-style:none}}
.cards a{{display:block;box-sizing:border-box;padding:.8rem 1rem;
border:1px solid #bbb;border-radius:.5rem;text-decoration:none;height:100%}}
.cards b{{display:block}}.cards span{{color:#444}}td,th{{font-size:.9rem}}</style></head>
<body><main><h1>Look around</h1><ul class="cards">{cards}</ul>
<h2>Live</h2><div id="live">{live}</div>
<h2>What the audit record holds of the request</h2>{timeline}</main>
<script>const live=document.getElementById("live")
setInterval(async()=>{{live.innerHTML=await(await fetch("/live")).text()}},2000)</script>
</body></html>"""


def build(t: Telling) -> FastAPI:
    """The page, made anew at each look."""
    app = FastAPI(openapi_url=None)

    @app.get("/")
    async def look() -> HTMLResponse:
        entries = await trail(t.http, t.stack, request=t.request)
        return HTMLResponse(
            _LAYOUT.format(style=STYLE, cards=_cards(t), live=await _live(t), timeline=_timeline(entries))
        )

    @app.get("/live")
    async def live() -> HTMLResponse:
        return HTMLResponse(await _live(t))

    return app


def _cards(t: Telling) -> str:
    url, (invited, outcome) = t.stack.url, t.invitation
    cards = (
        (f"{url('website')}/", "The shop", "its home page, with the notice of the policy"),
        (f"{url('consent')}/policy", "The policy", "with its date of last revision and earlier versions"),
        (f"{url('website')}/privacy", invited, f"the request form; {outcome}"),
        (f"{url('sink')}/", "The inbox", "every mail as it was received"),
        (t.link, "The request's status page", "as the person sees it"),
    )
    return "".join(
        f'<li><a href="{escape(to)}"><b>{title}</b><span>{escape(text)}</span></a></li>' for to, title, text in cards
    )


async def _live(t: Telling) -> str:
    rows = await asyncio.gather(*(_figures(t, name) for name in SERVICES))
    head = "".join(f'<th scope="col">{title}</th>' for title in GAUGES.values())
    body = "".join(f'<tr><th scope="row">{name}</th>{row}</tr>' for name, row in zip(SERVICES, rows, strict=True))
    return f'<table><thead><tr><th scope="col">service</th>{head}</tr></thead><tbody>{body}</tbody></table>'


async def _figures(t: Telling, service: str) -> str:
    with contextlib.suppress(httpx.HTTPError):
        text = (await t.http.get(f"{t.stack.url(service)}/metrics")).text
        values = (re.search(rf"^{name}\S* ([\d.e+-]+)$", text, re.MULTILINE) for name in GAUGES)
        return "".join(f"<td>{float(value[1]):g}</td>" if value else "<td>-</td>" for value in values)
    return f'<td colspan="{len(GAUGES)}">does not answer</td>'


def _timeline(entries: list[dict[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{entry['index']}</td><td>{escape(str(entry['time'])[:19])}</td><td>{escape(str(entry['source']))}</td>"
        f"<td>{escape(str(entry['type']))}</td><td>{escape(entry['topic'])}/{entry['partition']}@{entry['offset']}</td></tr>"
        for entry in entries
    )
    head = "".join(f'<th scope="col">{title}</th>' for title in ("entry", "time (UTC)", "by", "what", "where"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


@contextlib.asynccontextmanager
async def served(t: Telling) -> AsyncIterator[str]:
    """The page's address, for as long as it is served."""
    port = free_port()
    config = uvicorn.Config(build(t), LOOPBACK, port, log_level="error", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment]  # the demo hears them itself
    serving = asyncio.create_task(server.serve())
    try:
        yield f"http://{LOOPBACK}:{port}/"
    finally:
        server.should_exit = True
        await serving
