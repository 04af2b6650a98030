"""The committed schemas are those of the events; the command that says so notices every way in which they differ."""

import shutil
from pathlib import Path

import pytest

from privacy_contracts.generate import main

from . import golden


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    """A copy of what the command reads and writes."""
    for folder in ("schemas", "examples"):
        shutil.copytree(golden.CONTRACTS / folder, tmp_path / folder)
    shutil.copy(golden.CONTRACTS / "topics.toml", tmp_path)
    return tmp_path


def test_the_committed_schemas_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(golden.CONTRACTS), "--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("reply.done.json", "{}", "reply.done.json is stale"),
        ("reply.done.json", None, "reply.done.json is missing"),
        ("gone.json", "{}", "gone.json belongs to no event"),
    ],
)
def test_a_difference_is_named_and_mended(
    contracts: Path, capsys: pytest.CaptureFixture[str], file: str, content: str | None, said: str
) -> None:
    path = contracts / "schemas" / file
    path.unlink() if content is None else path.write_text(content)
    assert main([str(contracts), "--check"]) == 1
    assert capsys.readouterr().err == f"schemas: {said}; run python -m privacy_contracts.generate\n"
    assert main([str(contracts)]) == 0
    assert main([str(contracts), "--check"]) == 0


def test_a_release_freezes_schemas_examples_and_topics_once(contracts: Path) -> None:
    assert main([str(contracts), "--release", "9"]) == 0
    frozen = contracts / "released" / "9"
    assert {path.name for path in frozen.iterdir()} == {"schemas", "examples", "topology.json"}
    with pytest.raises(FileExistsError):
        main([str(contracts), "--release", "9"])


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
