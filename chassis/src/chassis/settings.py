"""Settings from the environment, checked all at once, and the company's own facts from `company.toml`."""

import socket
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

S = TypeVar("S", bound="Settings")


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
    service_urls: dict[str, str] = {}
    master_keys: Path
    erasure_ledger: Path
    company: Path
    clock_offset: Path | None = None

    @model_validator(mode="after")
    def _secure_outside_a_local_environment(self) -> Self:
        if self.environment == "local":
            return self
        wrong = []
        if not self.issuer.startswith("https://"):
            wrong.append("ISSUER must be https")
        if not self.kafka_tls:
            wrong.append("KAFKA_TLS must be on")
        if "sslmode=verify-full" not in self.database_url.get_secret_value():
            wrong.append("DATABASE_URL must say sslmode=verify-full")
        if any(not url.startswith("https://") for url in self.service_urls.values()):
            wrong.append("SERVICE_URLS must be https")
        if self.clock_offset is not None:
            wrong.append("CLOCK_OFFSET is for ENVIRONMENT=local")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


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
