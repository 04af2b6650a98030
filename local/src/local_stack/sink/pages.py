"""The inbox as HTML: nothing in it can run, whatever a message holds."""

from html import escape

from local_stack.sink.store import Message

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #ccc;
vertical-align:top}iframe{width:100%;height:36rem;border:1px solid #999}pre{white-space:pre-wrap;background:#f4f4f4;
padding:1rem;overflow:auto}a{color:#0b4f8a}"""


def page(title: str, body: str) -> str:
    """Wrap a body into a page."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )


def inbox(messages: list[Message], to: str | None) -> str:
    """List the messages, newest first."""
    rows = "".join(
        f"<tr><td>{escape(m.received_at[:19])}</td><td>{escape(', '.join(m.recipients))}</td>"
        f'<td><a href="/messages/{m.id}/page">{escape(str(m.parsed.get("Subject", "(no subject)")))}</a></td></tr>'
        for m in reversed(messages)
    )
    table = (
        '<table><thead><tr><th scope="col">Received (UTC)</th><th scope="col">To</th><th scope="col">Subject</th></tr>'
        f"</thead><tbody>{rows}</tbody></table>"
    )
    return page(f"Mail to {to}" if to else "All mail, as received", table if messages else "<p>Nothing yet.</p>")


def message(found: Message) -> str:
    """Show one message: its envelope, its HTML and text bodies, and the bytes."""
    envelope = (
        f"<p>From {escape(found.sender)} to {escape(', '.join(found.recipients))}, received "
        f'{escape(found.received_at)}. <a href="/messages/{found.id}/raw">The bytes as received</a>. '
        '<a href="/">All mail</a></p>'
    )
    html = (
        '<h2>As a mail reader shows it</h2><iframe title="The message" '
        f'sandbox="allow-popups allow-popups-to-escape-sandbox" src="/messages/{found.id}/html"></iframe>'
        if found.part("html")
        else ""
    )
    links = "".join(f'<li><a href="{escape(link)}">{escape(link)}</a></li>' for link in found.view()["links"])
    text = f"<h2>Text</h2><pre>{escape(found.part('plain'))}</pre>"
    return page(
        str(found.parsed.get("Subject", "(no subject)")),
        envelope + html + (f"<h2>Links</h2><ul>{links}</ul>" if links else "") + text,
    )
