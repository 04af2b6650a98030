"""Values sealed per owner (AES-256-GCM). Erasing an owner's key erases every value that was sealed under it.

Each owner has one random key, wrapped by the newest master key; the masters come from a file and carry versions.
An erasure is first written to a ledger outside the database; the ledger is replayed at start, so that a restored
backup cannot bring an erased person back.
"""

import hashlib
import hmac
import json
import os
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chassis import crash
from chassis.database import Connection, Pool, affected, columns, transaction

_NONCE = 12


class KeyErased(Exception):
    """The owner's key is gone, and with it the value."""


class WrongKey(Exception):
    """A master key was replaced under its version: what it sealed would not open, and lookups would find nobody."""


class Sealing:
    """Seals, opens and erases. `masters` maps versions to 32-byte keys; the highest wraps new keys.

    The lowest also keys the fingerprints, so it stays for as long as they do.
    """

    def __init__(self, masters: dict[int, bytes], ledger: Path) -> None:
        self._masters = masters
        self._newest = max(masters)
        self._ledger = ledger
        ledger.touch(mode=0o600)
        self._index = hmac.digest(masters[min(masters)], b"fingerprints", "sha256")

    def fingerprint(self, purpose: str, value: str) -> bytes:
        """32 bytes by which a value can be looked up without being stored. Normalise the value first."""
        return hmac.digest(self._index, purpose.encode() + b"\0" + value.encode(), hashlib.sha256)

    async def seal(self, tx: Connection, owner: str, text: str, context: str) -> bytes:
        """Nonce and ciphertext. `context` binds the value to its column, so that it opens nowhere else."""
        key = await self._key(tx, owner)
        if key is None:
            key = await self._new_key(tx, owner)
        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(key).encrypt(nonce, text.encode(), _bound(owner, context))

    async def open(self, tx: Connection, owner: str, sealed: bytes, context: str) -> str:
        """The text. Raises `KeyErased` when the owner's key, or the one it was sealed under, is gone."""
        key = await self._key(tx, owner)
        if key is None:
            raise KeyErased(context)
        try:
            return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound(owner, context)).decode()
        except InvalidTag:
            raise KeyErased(context) from None

    async def erase(self, tx: Connection, owner: str) -> None:
        """Write the ledger line, durable, then destroy the key, if there is one.

        Without one nothing is sealed for the owner, here or in a backup: a key goes by this way only.
        """
        await self._alone(tx, owner)
        find = "SELECT clock_timestamp() FROM keys.owners WHERE owner = $1"  # the clock that dates the keys
        at: datetime | None = await tx.fetchval(find, owner)
        if at is None:
            return
        line = json.dumps({"owner": owner, "at": at.isoformat()})
        with self._ledger.open("ab") as ledger:
            ledger.write(f"\n{line}\n".encode())  # a line of its own, even after one that a crash tore
            ledger.flush()
            os.fsync(ledger.fileno())
        crash.point("sealing.after-ledger")
        await tx.execute("DELETE FROM keys.owners WHERE owner = $1", owner)

    async def check(self, tx: Connection) -> None:
        """Raises `WrongKey` where a master key is not the one that its version had before."""
        for version, key in self._masters.items():
            mark = hmac.digest(key, b"mark", "sha256")
            known = "INSERT INTO keys.masters (version, mark) VALUES ($1, $2) ON CONFLICT DO NOTHING"
            await tx.execute(known, version, mark)
            if await tx.fetchval("SELECT mark FROM keys.masters WHERE version = $1", version) != mark:
                raise WrongKey(f"MASTER_KEYS: version {version} is another key than before")

    async def replay_ledger(self, pool: Pool) -> None:
        """Destroy every key that the ledger says is destroyed: after a restore some may be back.

        A torn line is left out: its transaction never went on.
        """
        lines = [json.loads(line) for line in self._ledger.read_text().splitlines() if line.endswith("}")]
        async with transaction(pool) as tx:
            await tx.execute(
                "DELETE FROM keys.owners USING unnest($1::text[], $2::timestamptz[]) AS erased (owner, at)"
                " WHERE owners.owner = erased.owner AND owners.created_at <= erased.at",
                *columns([(line["owner"], datetime.fromisoformat(line["at"])) for line in lines], 2),
            )

    async def _alone(self, tx: Connection, owner: str) -> None:
        """A first sealing and an erasure wait for each other: neither misses what the other has not committed."""
        await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('keys/' || $1, 0))", owner)

    async def _key(self, tx: Connection, owner: str) -> bytes | None:
        row = await tx.fetchrow("SELECT master_version, wrapped FROM keys.owners WHERE owner = $1", owner)
        if row is None:
            return None
        wrapped = row["wrapped"]
        return AESGCM(self._masters[row["master_version"]]).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], owner.encode())

    async def _new_key(self, tx: Connection, owner: str) -> bytes:
        await self._alone(tx, owner)
        key, nonce = AESGCM.generate_key(256), os.urandom(_NONCE)
        wrapped = nonce + AESGCM(self._masters[self._newest]).encrypt(nonce, key, owner.encode())
        insert = "INSERT INTO keys.owners (owner, master_version, wrapped) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
        if affected(await tx.execute(insert, owner, self._newest, wrapped)):
            return key
        present = await self._key(tx, owner)
        if present is None:
            raise KeyErased(owner.partition("/")[0])
        return present


def _bound(owner: str, context: str) -> bytes:
    return f"{owner}\0{context}".encode()
