"""Settings: every error at once, no value in any of them, and nothing insecure outside a local environment."""

from pathlib import Path

import pytest

from chassis.settings import Settings, company, load

SECRET = "hunter2"


def given(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "file").touch()
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
        "MASTER_KEYS": str(tmp_path / "file"),
        "ERASURE_LEDGER": str(tmp_path / "erasures"),
        "COMPANY": str(tmp_path / "file"),
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


def test_the_company_comes_from_its_file(tmp_path: Path) -> None:
    from .conftest import COMPANY

    (tmp_path / "company.toml").write_text(COMPANY)
    read = company(tmp_path / "company.toml")
    assert (read.name, read.sender, read.postal_address) == (
        "Sample Express",
        "privacy@example.com",
        ("1 Sample Street",),
    )
