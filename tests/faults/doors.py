"""Ports that lead to a server, so that a test can reset connections: of everybody, or of one process.

They are served by a thread of their own, which goes on while a test waits for something.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import psutil

from local_stack.ports import LOOPBACK, free_port

_AT_ONCE = struct.pack("ii", 1, 0)
"""With this linger a closed socket says RST, not FIN."""


class Door:
    """Leads to the server on `to`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.port, self.to = free_port(), 0
        self._loop, self._through = loop, set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]]()
        self._server: asyncio.Server | None = None

    def lead(self, to: int) -> None:
        """Let connections through to this port of the machine."""
        self.to = to

        async def listen() -> None:
            self._server = await asyncio.start_server(self._pass, LOOPBACK, self.port)

        asyncio.run_coroutine_threadsafe(listen(), self._loop).result()

    def reset(self, pid: int | None = None) -> None:
        """Reset the connections of everybody, or of one process, to both sides."""
        connections = psutil.Process(pid).net_connections("tcp") if pid else []
        ports = {each.laddr.port for each in connections}

        async def cut() -> None:
            for client, server in list(self._through):
                if pid is None or client.get_extra_info("peername")[1] in ports:
                    _reset(client)
                    _reset(server)

        asyncio.run_coroutine_threadsafe(cut(), self._loop).result()

    def shut(self) -> None:
        """Let nobody through any more."""
        if self._server:
            self._server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(LOOPBACK, self.to)
        except OSError:
            _reset(writer)
            return
        pair = (writer, back)
        self._through.add(pair)
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            self._through.discard(pair)


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


@contextlib.contextmanager
def doors(count: int) -> Iterator[list[Door]]:
    """So many doors; all are shut at the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="doors", daemon=True)
    thread.start()
    made = [Door(loop) for _ in range(count)]
    try:
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(_end(made), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(made: list[Door]) -> None:
    for door in made:
        door.shut()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
