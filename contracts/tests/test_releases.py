"""Readers of a release and writers of today, and the reverse: what one writes, the other's schemas and models read.

The schemas of a release are its baseline; its models are those of the archived code (`tests/releases`).
"""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from privacy_contracts import EVENTS

from . import golden
from .compatibility import schemas
from .test_examples import FORMATS

RELEASES = sorted((golden.CONTRACTS / "released").iterdir())
CODE = golden.CONTRACTS.parent / "tests" / "releases"
READ = """
import json, sys
from privacy_contracts import EVENTS
for name, text in json.load(sys.stdin):
    event = EVENTS[name].model_validate_json(text, strict=True)
    print(json.dumps([name, event.topic, event.key, event.subject]))
"""


def read_by(release: Path, folder: Path, bodies: list[tuple[str, str]]) -> list[list[str]]:
    """Type, topic, key and subject of each body, as the models of a release see it."""
    with tarfile.open(CODE / f"{release.name}.tar.xz") as archive:
        wanted = [each for each in archive if each.name.startswith("contracts/")]
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # not before Python 3.11.4
        archive.extractall(folder, wanted)  # noqa: S202 - an archive of our own
    env = {**os.environ, "PYTHONPATH": str(folder / "contracts" / "src")}
    line, given = [sys.executable, "-c", READ], json.dumps(bodies)
    done = subprocess.run(line, env=env, input=given, stdout=subprocess.PIPE, check=True, text=True)
    return [json.loads(each) for each in done.stdout.splitlines()]


def known_to(release: Path) -> list[tuple[str, str]]:
    """Today's examples of the types that a release knows, each with a field that nobody knows."""
    names = schemas(release / "schemas").keys()
    written = [(name, golden.body(name, kind) | {"of_the_future": "later"}) for name, kind in golden.EVERY]
    return [(name, json.dumps(body)) for name, body in written if name in names]


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_what_is_written_today_meets_the_schemas_of_a_release(release: Path) -> None:
    released = schemas(release / "schemas")
    written = known_to(release)
    assert {name for name, _ in written} == set(released)
    for name, text in written:
        Draft202012Validator(released[name], format_checker=FORMATS).validate(json.loads(text))


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_what_is_written_today_is_read_by_the_models_of_a_release(release: Path, tmp_path: Path) -> None:
    written = known_to(release)
    today = [(name, EVENTS[name].model_validate_json(text, strict=True)) for name, text in written]
    seen = read_by(release, tmp_path, written)
    assert seen == [[name, event.topic, event.key, event.subject] for name, event in today]


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_what_was_written_under_a_release_meets_the_schemas_of_today(release: Path) -> None:
    today = schemas(golden.CONTRACTS / "schemas")
    for path in (release / "examples").iterdir():
        name = path.name.removesuffix(".json").rpartition(".")[0]
        Draft202012Validator(today[name], format_checker=FORMATS).validate(json.loads(path.read_text("utf-8")))
