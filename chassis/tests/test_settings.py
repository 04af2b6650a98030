"""Settings: every error at once, no value in any of them, and nothing insecure outside a local environment."""

import base64
import json
from pathlib import Path

import pytest

from chassis.settings import Company, Settings, load

from .conftest import COMPANY

SECRET = "hunter2"


def given(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "masters").write_text(json.dumps({"1": base64.b64encode(bytes(32)).decode()}))
    (tmp_path / "company.toml").write_text(COMPANY)
    return {
        "ENVIRONMENT": "production",
        "PORT": "8001",
        "PUBLIC_URL": "https://dsr.example.com",
        "DATABASE_URL": f"postgresql://dsr:{SECRET}@db.example.com/dsr?sslmode=verify-full",
        "KAFKA_BOOTSTRAP": "kafka.example.com:9093",
        "KAFKA_USERNAME": "dsr",
        "KAFKA_PASSWORD": SECRET,
        "ISSUER": "https://issuer.example.com",
        "CLIENT_ID": "dsr",
        "CLIENT_SECRET": SECRET,
        "SERVICE_URLS": '{"consent": "https://consent.example.com"}',
        "MASTER_KEYS": str(tmp_path / "masters"),
        "ERASURE_LEDGER": str(tmp_path / "erasures"),
        "COMPANY": str(tmp_path / "company.toml"),
    }


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A complete environment, to be changed."""
    for name in ("INSTANCE", "HOST", "CLOCK_OFFSET", "OWNER_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given(tmp_path).items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def complaints(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    with pytest.raises(SystemExit) as ended:
        load(Settings)
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert SECRET not in printed
    return dict(line.strip().split(": ", 1) for line in printed.splitlines()[1:])


def test_a_complete_environment_is_read(put: pytest.MonkeyPatch) -> None:
    settings = load(Settings)
    assert settings.service_urls == {"consent": "https://consent.example.com"}
    assert SECRET not in repr(settings)
    assert settings.instance


def test_every_error_is_told_at_once(put: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("DATABASE_URL", "CLIENT_SECRET"):
        put.delenv(name)
    for name, value in {
        "PORT": SECRET,
        "SERVICE_URLS": f"{{{SECRET}",
        "MASTER_KEYS": f"/nowhere/{SECRET}",
        "ISSUER": f"http://{SECRET}",
        "KAFKA_TLS": "false",
        "CLOCK_OFFSET": SECRET,
        "ERASURE_LEDGER": f"/nowhere/{SECRET}",
        "SESSION_TIMEOUT_MS": "1",
    }.items():
        put.setenv(name, value)
    assert set(complaints(capsys)) == {
        "DATABASE_URL",
        "CLIENT_SECRET",
        "PORT",
        "SERVICE_URLS",
        "MASTER_KEYS",
        "ISSUER",
        "KAFKA_TLS",
        "CLOCK_OFFSET",
        "ERASURE_LEDGER",
        "SESSION_TIMEOUT_MS",
    }


INSECURE = {
    "PUBLIC_URL": "http://dsr.example.com",
    "DATABASE_URL": f"postgresql://dsr:{SECRET}@db.example.com/dsr?sslmode=require",
    "OWNER_DATABASE_URL": f"postgresql://dsr_owner:{SECRET}@db.example.com/dsr",
    "KAFKA_TLS": "false",
    "ISSUER": "http://issuer.example.com",
    "SERVICE_URLS": '{"consent": "http://consent.example.com"}',
    "CLOCK_OFFSET": "clock",
}


@pytest.mark.parametrize("environment", ["production", None, "staging"])
def test_outside_a_local_environment_nothing_goes_in_the_clear(
    put: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environment: str | None
) -> None:
    for name, value in INSECURE.items():
        put.setenv(name, value)
    if environment is None:
        put.delenv("ENVIRONMENT")
    else:
        put.setenv("ENVIRONMENT", environment)
    assert set(complaints(capsys)) - {"ENVIRONMENT"} == set(INSECURE)


def test_a_local_environment_may(put: pytest.MonkeyPatch) -> None:
    for name, value in (INSECURE | {"ENVIRONMENT": "local"}).items():
        put.setenv(name, value)
    assert load(Settings).clock_offset == Path("clock")


def test_the_company_and_the_keys_come_from_their_files(put: pytest.MonkeyPatch) -> None:
    settings = load(Settings)
    assert (settings.company.name, settings.company.postal_address) == ("Sample Express", ("1 Sample Street",))
    assert settings.master_keys == {1: bytes(32)}
    assert "\\x00" not in repr(settings)


FILES = {
    "no file": (None, None, {"MASTER_KEYS", "COMPANY"}),
    "not of the format": ("{", "name =", {"MASTER_KEYS", "COMPANY"}),
    "no mapping": ("[1]", "", {"MASTER_KEYS"} | {f"COMPANY_{name.upper()}" for name in Company.model_fields}),
    "incomplete": ('{"1": "AAAA"}', COMPANY.replace("sender", "from"), {"MASTER_KEYS", "COMPANY_SENDER"}),
    "another version": ('{"one": "AAAA"}', COMPANY, {"MASTER_KEYS"}),
    "values that cannot be": (
        None,
        COMPANY.replace("UTC", "Mars").replace("#000000", "black").replace('sender = "privacy@', 'sender = "'),
        {"MASTER_KEYS", "COMPANY_TIME_ZONE", "COMPANY_BRAND_COLOR", "COMPANY_SENDER"},
    ),
    "values beside tables": ('{"1": "AAAA"}', 'name = "x"', {"MASTER_KEYS", "COMPANY"}),
    "no key": ("{}", COMPANY, {"MASTER_KEYS"}),
}


@pytest.mark.parametrize(("keys", "company", "wrong"), FILES.values(), ids=FILES)
def test_what_is_wrong_in_a_file_is_told_too(
    put: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    keys: str | None,
    company: str | None,
    wrong: set[str],
) -> None:
    for name, text in (("masters", keys), ("company.toml", company)):
        (tmp_path / name).unlink()
        if text is not None:
            (tmp_path / name).write_text(text)
    assert set(complaints(capsys)) == wrong
