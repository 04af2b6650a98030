"""Settings from the environment, checked all at once, and the company's own facts from `company.toml`."""

import socket
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, FilePath, Json, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

S = TypeVar("S", bound="Settings")


def _verified(url: SecretStr | None) -> bool:
    return url is None or "sslmode=verify-full" in url.get_secret_value()


def _https(url: str) -> bool:
    return url.startswith("https://")


_SECURE: dict[str, tuple[Callable[[Any], bool], str]] = {
    "public_url": (_https, "must be https"),
    "database_url": (_verified, "must say sslmode=verify-full"),
    "owner_database_url": (_verified, "must say sslmode=verify-full"),
    "kafka_tls": (bool, "must be on"),
    "issuer": (_https, "must be https"),
    "service_urls": (lambda urls: all(map(_https, urls.values())), "must hold https addresses only"),
    "clock_offset": (lambda file: file is None, "must be absent"),
}


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
    issuer: str
    client_id: str
    client_secret: SecretStr
    service_urls: Json[dict[str, str]] = Field(default="{}", validate_default=True)
    master_keys: FilePath
    erasure_ledger: Path
    company: FilePath
    clock_offset: Path | None = None

    @field_validator(*_SECURE)
    @classmethod
    def _secure_outside_a_local_environment(cls, value: Any, info: ValidationInfo) -> Any:
        holds, demand = _SECURE[str(info.field_name)]
        if info.data.get("environment") != "local" and not holds(value):
            raise ValueError(f"outside ENVIRONMENT=local it {demand}")
        return value


def load(settings: type[S]) -> S:
    """Read the environment, or print everything that is wrong with it and exit with status 2."""
    try:
        return settings()
    except ValidationError as errors:
        print("The settings are not complete:", file=sys.stderr)
        for error in errors.errors(include_input=False, include_url=False):
            name = "_".join(str(part) for part in error["loc"]).upper()
            print(f"  {name}: {error['msg']}" if name else f"  {error['msg']}", file=sys.stderr)
        raise SystemExit(2) from None


@dataclass(frozen=True)
class Company:
    """The company that this deployment serves; nothing in code names one."""

    name: str
    legal_name: str
    website: str
    time_zone: str
    brand_color: str
    sender: str
    privacy_mailbox: str
    product_mailbox: str
    postal_address: tuple[str, ...]


def company(path: Path) -> Company:
    """Read `company.toml`: tables `company`, `mail` and `post`."""
    data = tomllib.loads(path.read_text("utf-8"))
    return Company(
        **{name: data["company"][name] for name in ("name", "legal_name", "website", "time_zone", "brand_color")},
        sender=data["mail"]["sender"],
        privacy_mailbox=data["mail"]["privacy"],
        product_mailbox=data["mail"]["product"],
        postal_address=tuple(data["post"]["address"]),
    )
