"""What stands between an application's server and its clients on each preset, started from a port and nothing else.

With it a test runs one application on every preset. The application is not told more than its environment.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from ably_server import KEY, AblyProcess
from centrifugo_server import CentrifugoServer, free_port

__all__ = ["CARRIERS", "Carrier"]


class Carrier(Protocol):
    """A service beside the application."""

    @property
    def environ(self) -> Mapping[str, str]:
        """What the application's server finds in its environment, besides the name of the preset."""
        ...

    async def start(self) -> None:
        """Start it and wait until it answers."""
        ...

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, and wait until it is gone."""
        ...


class NoCarrier:
    """The node preset's: the application's own server carries the messages."""

    def __init__(self) -> None:
        self.environ: Final[Mapping[str, str]] = {}

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Nothing to stop."""


class Centrifugo:
    """A Centrifugo node.

    Args:
        folder: for its files.
        app_port: where the application answers.
    """

    def __init__(self, folder: Path, app_port: int) -> None:
        self._server = CentrifugoServer(folder, app_port)
        self.environ: Final = self._server.environ()
        self.start: Final = self._server.start
        self.stop: Final = self._server.stop


class Ably:
    """A server that speaks Ably's protocol. It need not know where the application is.

    Args:
        folder: for its log.
    """

    def __init__(self, folder: Path) -> None:
        self._server = AblyProcess(folder, free_port())
        self.environ: Final = {"ABLY_API_KEY": KEY, "ABLY_ENDPOINT": f"http://127.0.0.1:{self._server.port}"}
        self.start: Final = self._server.start
        self.stop: Final = self._server.stop


CARRIERS: Final[Mapping[str, Callable[[Path, int], Carrier]]] = {
    "node": lambda _folder, _port: NoCarrier(),
    "centrifugo": Centrifugo,
    "ably": lambda folder, _port: Ably(folder),
}
"""By the preset's name: makes one, of a folder for its files and the port of the application."""
