"""`python -m local_stack.warm SOCKET`: starts Python programs quickly, by forking one that has read the libraries.

Most of what a service's start costs is reading libraries, and tests start services often; this reads them once. Code of
contracts, chassis and services is read anew at each start.

Invariant: a program that is started here is in a session of its own, has the environment, the directory and the module
path of its own, and ends as its own exit says. Decision record 0009 names in what else it differs from one that is
started by its command line.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import site
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

LIBRARIES = (
    *("aiokafka", "asyncpg", "fastapi", "fastapi.responses", "faststream.kafka", "faststream.security", "httpx"),
    *("jinja2", "joserfc.jwk", "joserfc.jwt", "opentelemetry.exporter.prometheus", "opentelemetry.sdk.trace"),
    *("pydantic_settings", "uuid_utils.compat", "uvicorn", "uvicorn.lifespan.on", "uvicorn.loops.auto"),
    "uvicorn.protocols.http.auto",
)
_LONGEST = 1 << 20


def can_start(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether this is a module, run by an interpreter like ours; those of a stack are all told not to buffer."""
    told = {name for name in env if name.startswith("PYTHON")} - {"PYTHONPATH"}
    return list(command[:2]) == [sys.executable, "-m"] and told == {"PYTHONUNBUFFERED"}


def start(at: Path, command: Sequence[str], env: Mapping[str, str], log: Path, *, wait: bool = False) -> int:
    """Start a module; its output is appended to `log`. Returns its pid; with `wait`, its exit status once it ended.

    Raises:
        OSError: nobody answers at this socket.

    """
    asked = {"command": list(command[2:]), "env": dict(env), "cwd": str(Path.cwd()), "wait": wait}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        with _opened(at.parent, os.O_DIRECTORY) as folder:
            asking.connect(_short(folder, at))
        with _opened(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as output:
            socket.send_fds(asking, [json.dumps(asked).encode()], [output])
        answer = asking.recv(_LONGEST)
    if not answer:
        raise OSError("whoever starts programs has ended")
    return int(answer)


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    file = os.open(path, flags, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def _short(folder: int, at: Path) -> str:
    """Another name of a socket: that of one in a long folder is more than the 107 bytes that `unix(7)` allows."""
    return f"/proc/self/fd/{folder}/{at.name}"


def main() -> None:
    """Serve until stopped. Each request is attended by a process of its own, so that the next one need not wait."""
    at = Path(sys.argv[1])
    for library in LIBRARIES:
        with contextlib.suppress(ModuleNotFoundError):  # whoever needs it says so
            importlib.import_module(library)
    gc.collect()
    gc.freeze()  # what is shared with all children is not looked at again
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how an attendant ended
    at.parent.chmod(0o700)  # whoever can ask us runs what he likes
    listening, draft = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET), at.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with _opened(at.parent, os.O_DIRECTORY) as folder:
        listening.bind(_short(folder, draft))
    listening.listen(32)
    draft.rename(at)  # whoever finds it is answered
    while True:
        asking, _ = listening.accept()
        if os.fork() == 0:
            break
        asking.close()
    listening.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, (output,), _, _ = socket.recv_fds(asking, _LONGEST, 1)
    asked = json.loads(message)
    pid = os.fork()
    if pid:
        if asked["wait"]:
            _, status = os.waitpid(pid, 0)
            asking.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        else:
            asking.sendall(str(pid).encode())
        os._exit(0)
    asking.close()
    _become(asked, output)


def _become(asked: dict[str, Any], output: int) -> None:
    os.setsid()
    os.chdir(asked["cwd"])
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(asked["env"])
    module, *arguments = asked["command"]
    sys.argv, sys.orig_argv = [module, *arguments], [sys.executable, "-m", module, *arguments]
    sys.path[0] = asked["cwd"]
    if more := list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))):
        sys.path[1:1] = more
        sys.modules.pop("sitecustomize", None)
        site.execsitecustomize()  # as the interpreter does at its start
    importlib.invalidate_caches()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
