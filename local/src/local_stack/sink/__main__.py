"""`python -m local_stack.sink`: serve SMTP and HTTP until stopped."""

import argparse
from pathlib import Path

import uvicorn

from local_stack.ports import LOOPBACK
from local_stack.sink.http import build
from local_stack.sink.store import Store


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m local_stack.sink", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    app = build(Store(arguments.directory), arguments.smtp_port)
    uvicorn.run(app, host=LOOPBACK, port=arguments.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
