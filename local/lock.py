"""`make lock`: compile the hashed locks from what every package's pyproject.toml asks for.

Invariant: locks hold names, versions and hashes, for every platform, and no address; our own packages are never
looked up anywhere.
"""

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "requirements"
PLACES = ("contracts", "chassis", "services/*", "deploy/*", "local", "examples/company/*")
UV = ROOT / ".venv" / "bin" / "uv"


def third_party() -> list[str]:
    """Return the requirements of all packages but those on each other."""
    found = (path for place in PLACES for path in sorted(ROOT.glob(f"{place}/pyproject.toml")))
    packages = [tomllib.loads(path.read_text("utf-8"))["project"] for path in found]
    own = {package["name"] for package in packages}
    asked = {requirement for package in packages for requirement in package.get("dependencies", [])}
    return sorted(requirement for requirement in asked if re.split(r"[<>=!~\[ ;]", requirement)[0] not in own)


def compile_lock(name: str, requirements: list[str]) -> None:
    """Write a lock, keeping the versions that it has where they still fit."""
    options = ["--universal", "--python-version=3.11", "--generate-hashes", "--no-annotate", "--no-emit-index-url"]
    options += ["--no-emit-find-links", "--custom-compile-command=make lock", "--quiet"]
    command = [str(UV), "pip", "compile", "-", *options, f"--output-file={LOCKS / name}"]
    subprocess.run(command, input="\n".join(requirements), text=True, check=True)


def main() -> None:
    """Compile all locks."""
    run, build, tools = third_party(), read("build.in"), read("dev.in")
    compile_lock("build.txt", build)
    compile_lock("run.txt", run)
    compile_lock("dev.txt", run + build + tools)


def read(name: str) -> list[str]:
    """Return the lines of an input file."""
    return (LOCKS / name).read_text("utf-8").splitlines()


if __name__ == "__main__":
    main()
