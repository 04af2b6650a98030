"""Passwords of a stack: generated once, kept in one file that only its owner may read."""

import json
import os
import secrets
from pathlib import Path


def passwords(path: Path, names: list[str]) -> dict[str, str]:
    """Return a password for each name, generating those that the file lacks. Call under the stack's lock."""
    known: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    missing = [name for name in names if name not in known]
    if missing:
        known |= {name: secrets.token_urlsafe(24) for name in missing}
        write_private(path, json.dumps(known, indent=1))
    return {name: known[name] for name in names}


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 600 in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".draft")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
