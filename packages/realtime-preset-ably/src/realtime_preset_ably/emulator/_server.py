"""The emulator on a socket, in the running event loop."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import Final

import uvicorn

from ._access import parse_key
from ._asgi import Application
from ._authority import Authority
from ._clock import SystemClock
from ._faults import Faults
from ._limits import Limits
from ._realtime import Realtime
from ._sandbox import new_app
from ._ticker import Ticker
from ._tokens import MAX_TOKEN

__all__ = ["Emulator", "new_key", "serve"]

PING_INTERVAL: Final = 15.0
PING_TIMEOUT: Final = 10.0
"""Seconds. A peer that does not answer is dropped after 25 of them; the protocol's own heartbeats are not answered."""

_ANY_HOST: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - names to connect to, not to bind


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running server.

    Attributes:
        host: Where to connect to.
        port: The port.
        key: The key of its app, ``appId.keyId:secret``.
        tls: Whether it speaks TLS.
        authority: Apps, keys and tokens.
        realtime: Channels and connections.
        clock: Its time, which a test can move on.
    """

    host: str
    port: int
    key: str
    tls: bool
    authority: Authority
    realtime: Realtime
    clock: SystemClock

    @property
    def faults(self) -> Faults:
        """What a test can make go wrong."""
        return self.realtime.faults

    @property
    def url(self) -> str:
        """``http://host:port``, or ``https``."""
        return f"{'https' if self.tls else 'http'}://{_netloc(self.host, self.port)}"

    @property
    def endpoint(self) -> str:
        """What ably-python takes as ``endpoint``. The slash at its end is what makes that SDK use the port."""
        return f"{_netloc(self.host, self.port)}/"


@asynccontextmanager
async def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    key: str | None = None,
    tls: tuple[str | PathLike[str], str | PathLike[str]] | None = None,
    limits: Limits | None = None,
) -> AsyncGenerator[Emulator]:
    """Serve in the running loop while the context is open. At its end all sockets are dropped at once.

    Everything is in memory and ends with the context, except for tokens: a server with the same key knows them.

    Args:
        host: The interface to listen on.
        port: The port; 0 takes a free one.
        key: The key of the app, ``appId.keyId:secret``. Default: a new one.
        tls: Files of the certificate chain and of the private key, both PEM. Default: no TLS.
        limits: Bounds. Default: those of Ably, where it has one.

    Yields:
        The running server.

    Raises:
        AblyError: If the key has another form.
        OSError: If the port is taken, or a file cannot be read.
    """
    key = new_key() if key is None else key
    clock = SystemClock()
    authority = Authority(clock.now)
    authority.add(new_app(*parse_key(key)))
    realtime = Realtime(authority, clock, limits)
    config = uvicorn.Config(
        Application(realtime),
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        http="h11",
        # A token may be in the URL, each of its characters as "%xx".
        h11_max_incomplete_event_size=4 * MAX_TOKEN,
        ws="wsproto",
        ws_max_size=realtime.limits.frame_size,
        ws_ping_interval=PING_INTERVAL,
        ws_ping_timeout=PING_TIMEOUT,
        ws_per_message_deflate=False,
        limit_concurrency=2 * realtime.limits.connections,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        server_header=False,
        ssl_certfile=None if tls is None else tls[0],
        ssl_keyfile=None if tls is None else tls[1],
    )
    config.load()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        server = _Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        ticker = Ticker(realtime, clock)
        try:
            await server.listening(running)
            yield Emulator(
                host=_ANY_HOST.get(host, host),
                port=listener.getsockname()[1],
                key=key,
                tls=tls is not None,
                authority=authority,
                realtime=realtime,
                clock=clock,
            )
        finally:
            server.drop_all()
            ticker.stop()
            await running


def new_key() -> str:
    """Return a random key of a random app."""
    return f"{secrets.token_hex(3)}.{secrets.token_hex(3)}:{secrets.token_urlsafe(24)}"


class _Server(uvicorn.Server):
    """uvicorn within a loop that is not its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._started = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to whoever owns the loop."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self._started.set()

    async def listening(self, running: asyncio.Task[None]) -> None:
        """Wait until the server listens, or raise why it does not."""
        started = asyncio.create_task(self._started.wait())
        await asyncio.wait({started, running}, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            started.cancel()
            await running

    def drop_all(self) -> None:
        """Stop listening and abort all sockets."""
        self.should_exit = True
        for server in getattr(self, "servers", ()):
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
