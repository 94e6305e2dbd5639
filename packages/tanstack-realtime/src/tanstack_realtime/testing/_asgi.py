"""An ASGI application on a simulated network: its WebSockets and its HTTP, without a port.

What runs is the application's own code, down to the frames; only the web server and TCP are replaced.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote, urlsplit

from tanstack_realtime._errors import ConnectionLostError
from tanstack_realtime._http import HttpResponse

from ._socket import LOST, SocketClosedError

if TYPE_CHECKING:
    from tanstack_realtime._http import Http

    from ._network import MemoryNetwork
    from ._socket import MemorySocket

__all__ = ["MOUNT", "AsgiApp", "AsgiServer"]

MOUNT: Final = "/_realtime"
"""Where the realtime routes are mounted in an application."""

_Message: TypeAlias = MutableMapping[str, Any]
AsgiApp: TypeAlias = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[_Message]], Callable[[_Message], Awaitable[None]]],
    Awaitable[None],
]
"""An ASGI 3 application."""

_ACCEPTED: Final = "101"


class AsgiServer:
    """Serves an ASGI application at an address of a network.

    Args:
        network: the network.
        app: the application.
        address: its name on the network.
    """

    def __init__(self, network: MemoryNetwork, app: AsgiApp, *, address: str = "server") -> None:
        self.network: Final = network
        self.address: Final = address
        self._app = app
        self._running = False

    def start(self) -> None:
        """Listen."""
        self._running = True
        self.network.listen(self.address, self._serve)

    async def kill(self) -> None:
        """End as a killed process does: without a word to anybody."""
        self._running = False
        await self.network.stop(self.address)

    async def websocket(self, client: str, path: str, /, *, headers: Mapping[str, str] | None = None) -> MemorySocket:
        """Open a WebSocket.

        Raises:
            ConnectionRefusedError: the server is away, or refuses the handshake.
        """
        socket = await self.network.connect(client, self.address)
        try:
            await socket.send(json.dumps({"path": path, "headers": dict(headers or {})}))
            await socket.recv()
        except SocketClosedError as error:
            raise ConnectionRefusedError(f"{path}: {error}") from error
        except BaseException:
            socket.abort()
            raise
        return socket

    def http(self, client: str, /) -> Http:
        """Return what sends a client's HTTP requests. They take the network's time, and share its partitions."""

        async def send(method: str, url: str, /, *, headers: Mapping[str, str], body: bytes | None) -> HttpResponse:
            await self.network.reach(client)
            if not self._running:
                raise ConnectionLostError(f"{method} {url}: the server is away", reason="the server is away")
            status, content = 0, bytearray()

            async def receive() -> _Message:
                return {"type": "http.request", "body": body or b"", "more_body": False}

            async def answer(message: _Message) -> None:
                nonlocal status
                status = message.get("status", status)
                content.extend(message.get("body", b""))

            scope = {**_scope("http", urlsplit(url).path, headers, client), "method": method}
            await self._app(scope, receive, answer)
            await self.network.reach(client)
            return HttpResponse(status, bytes(content))

        return send

    async def _serve(self, socket: MemorySocket) -> None:
        request = json.loads(await socket.recv())
        connecting = True

        async def receive() -> _Message:
            nonlocal connecting
            if connecting:
                connecting = False
                return {"type": "websocket.connect"}
            try:
                return {"type": "websocket.receive", "text": await socket.recv()}
            except SocketClosedError as error:
                return {"type": "websocket.disconnect", "code": error.code}

        async def send(message: _Message) -> None:
            match message["type"]:
                case "websocket.accept":
                    await socket.send(_ACCEPTED)
                case "websocket.send":
                    await socket.send(message["text"])
                case _:
                    socket.close(message.get("code", 1000), message.get("reason") or "")

        await self._app(_scope("websocket", request["path"], request["headers"], socket.client), receive, send)
        socket.close(LOST, "the application returned")


def _scope(kind: str, path: str, headers: Mapping[str, str], client: str) -> MutableMapping[str, Any]:
    given = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws" if kind == "websocket" else "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"memory"), *given],
        "client": (client, 0),
        "server": ("memory", 80),
        "state": {},
    }
