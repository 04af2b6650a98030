"""Roles and databases: two roles for each service, each of which may connect to its own database only.

Invariant: PUBLIC may connect to nothing, so a role reaches what it is granted and nothing else.
"""

from urllib.parse import quote

import asyncpg

SERVICES = ("dsr", "consent", "notifier", "audit", "accounts", "orders")
ROLES = [role for service in SERVICES for role in (f"{service}_owner", service)]


def url(port: int, role: str, password: str, database: str) -> str:
    """Return the address by which a role connects to a database on loopback."""
    return f"postgresql://{role}:{quote(password, safe='')}@127.0.0.1:{port}/{database}"


async def create_roles(superuser_url: str, passwords: dict[str, str]) -> None:
    """Create each role that is missing, and set its password. `passwords` maps role to password."""
    connection = await asyncpg.connect(superuser_url)
    try:
        for role, password in passwords.items():
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
                await connection.execute(f'CREATE ROLE "{role}" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE')
            statement = await connection.fetchval(
                "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)", role, password
            )
            await connection.execute(statement)
        for database in ("postgres", "template1"):
            await connection.execute(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')
    finally:
        await connection.close()


async def create_database(superuser_url: str, service: str, database: str) -> bool:
    """Create a service's database unless it exists: owned by its owner role, open to its two roles alone.

    Returns whether it was created.
    """
    connection = await asyncpg.connect(superuser_url)
    try:
        if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
            return False
        await connection.execute(f'CREATE DATABASE "{database}" OWNER "{service}_owner"')
        await connection.execute(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')
        await connection.execute(f'GRANT CONNECT ON DATABASE "{database}" TO "{service}"')
        await connection.execute(f'ALTER DATABASE "{database}" SET search_path = "{service}", chassis, public')
        return True
    finally:
        await connection.close()


async def drop_database(superuser_url: str, database: str) -> None:
    """Drop a database and end its connections; one that is missing is no error."""
    connection = await asyncpg.connect(superuser_url)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
    finally:
        await connection.close()
