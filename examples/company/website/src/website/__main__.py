"""Serve the website: `python -m website`."""

import uvicorn

from website.app import build
from website.settings import read


def main() -> None:
    """Read the settings, then serve. The access log stays off: addresses of visitors are personal data."""
    settings = read()
    uvicorn.run(build(settings), host=settings.host, port=settings.port, access_log=False, server_header=False)


if __name__ == "__main__":
    main()
