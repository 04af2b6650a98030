"""Settings from the environment, checked all at once, and the company's own facts from `company.toml`."""

import base64
import json
import socket
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import available_timezones

import pydantic
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

S = TypeVar("S", bound="Settings")
_Mailbox = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
_Key = Annotated[bytes, Field(min_length=32, max_length=32)]


_SECURE: dict[str, tuple[Callable[[Any], bool], str]] = {
    "public_url": (lambda url: url.startswith("https://"), "must be https"),
    "database_url": (lambda url: "sslmode=verify-full" in url.get_secret_value(), "must say sslmode=verify-full"),
    "kafka_tls": (bool, "must be on"),
    "service_urls": (lambda urls: all(url.startswith("https://") for url in urls.values()), "must hold https only"),
    "clock_offset": (lambda file: file is None, "must be absent"),
}
_SECURE |= {"owner_database_url": _SECURE["database_url"], "issuer": _SECURE["public_url"]}


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("no time zone has this name")
    return name


class Company(pydantic.BaseModel):
    """The company that this deployment serves, from the tables of `company.toml`; nothing in code names one."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    name: str
    legal_name: str
    website: str
    time_zone: Annotated[str, AfterValidator(_known_zone)]
    brand_color: Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]
    sender: _Mailbox
    privacy_mailbox: _Mailbox
    product_mailbox: _Mailbox
    postal_address: tuple[str, ...]


def _company(file: Any) -> Any:
    """The values of all tables of the file, by name."""
    if isinstance(file, Company):
        return file
    tables = tomllib.loads(_text(file))
    if not all(isinstance(table, dict) for table in tables.values()):
        raise ValueError("tables are expected, and nothing beside them")
    return {name: value for table in tables.values() for name, value in table.items()}


def keys_by_version(file: Any) -> Any:
    """Keys by version, from a file of JSON: `{"1": "<base64 of 32 bytes>"}`."""
    if isinstance(file, dict):
        return file
    versions = json.loads(_text(file))
    if not isinstance(versions, dict) or not all(isinstance(key, str) for key in versions.values()):
        raise ValueError("keys in base64 by version are expected")
    return {version: base64.b64decode(key) for version, key in versions.items()}


def _writable(file: Path) -> Path:
    """One that cannot be written is told at start, not at the first erasure."""
    try:
        file.touch(mode=0o600)
    except OSError as error:
        raise ValueError(f"the file cannot be written: {type(error).__name__}") from None
    return file


def _text(file: str | Path) -> str:
    try:
        return Path(file).read_text("utf-8")
    except OSError as error:
        raise ValueError(f"the file cannot be read: {type(error).__name__}") from None


class Settings(BaseSettings):
    """What every service needs. A service adds its own fields. Names are the environment variables'."""

    model_config = SettingsConfigDict(extra="ignore", hide_input_in_errors=True)

    environment: Literal["local", "production"] = "production"
    instance: str = Field(default_factory=socket.gethostname)
    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)
    public_url: str
    database_url: SecretStr
    owner_database_url: SecretStr | None = None
    kafka_bootstrap: str
    kafka_username: str
    kafka_password: SecretStr
    kafka_tls: bool = True
    topic_prefix: str = "privacy."
    session_timeout_ms: int = Field(default=10_000, ge=1_000)
    fetch_wait_ms: int = Field(default=500, ge=10, le=5_000)
    issuer: str
    client_id: str
    client_secret: SecretStr
    service_urls: Json[dict[str, str]] = Field(default="{}", validate_default=True)
    master_keys: Annotated[dict[int, _Key], NoDecode, BeforeValidator(keys_by_version), Field(repr=False, min_length=1)]
    erasure_ledger: Annotated[Path, AfterValidator(_writable)]
    company: Annotated[Company, NoDecode, BeforeValidator(_company)]
    clock_offset: Path | None = None

    @field_validator(*_SECURE)
    @classmethod
    def _secure_outside_a_local_environment(cls, value: Any, info: ValidationInfo) -> Any:
        holds, demand = _SECURE[str(info.field_name)]
        absent = value is None and info.field_name == "owner_database_url"
        if info.data.get("environment") != "local" and not (absent or holds(value)):
            raise ValueError(f"outside ENVIRONMENT=local it {demand}")
        return value


def load(settings: type[S]) -> S:
    """Read the environment, or print everything that is wrong with it and exit with status 2."""
    try:
        return settings()
    except pydantic.ValidationError as errors:
        print("The settings are not complete:", file=sys.stderr)
        for error in errors.errors(include_input=False, include_url=False):
            place = error["loc"] if error["loc"][:1] == ("company",) else error["loc"][:1]  # others name what was given
            name = "_".join(map(str, place)).upper()
            print(f"  {name}: {error['msg']}" if name else f"  {error['msg']}", file=sys.stderr)
        raise SystemExit(2) from None
