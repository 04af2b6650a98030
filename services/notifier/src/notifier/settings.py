"""The notifier's own settings, beside those of every service."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

import chassis.settings


class Settings(chassis.settings.Settings):
    """The mail server that takes our mail, and how much it is given at a time."""

    smtp_host: str
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_tls: Literal["none", "starttls", "tls"] = "starttls"
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    smtp_connections: int = Field(default=8, ge=1, le=64)

    @model_validator(mode="after")
    def _mail_is_encrypted(self) -> Self:
        if self.environment != "local" and self.smtp_tls == "none":
            raise ValueError("SMTP_TLS must be starttls or tls")
        return self
