"""What tests ask of an SDK of Ably: one face for ably-js and ably-python, so that one test serves both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

__all__ = ["DEADLINE", "Sdk", "SdkClient", "SdkError"]

DEADLINE: Final = 10.0
"""Seconds after which a wait counts as failed."""

Said = dict[str, Any]


class SdkError(Exception):
    """A command failed in the SDK.

    Attributes:
        code: Ably's error code, or None where the error is not Ably's.
        status: the HTTP status that goes with it.
    """

    def __init__(self, code: int | None, status: int | None, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code: Final = code
        self.status: Final = status


class SdkClient:
    """One client of an SDK.

    Args:
        name: for messages about it.
        news: set whenever it said something.

    Attributes:
        said: what it said, in order: ``connection``, ``channel``, ``message``, ``presence``, ``token``; each with its
            facts.
    """

    def __init__(self, name: str, news: asyncio.Event) -> None:
        self._name = name
        self._news = news
        self.said: Final[list[Said]] = []

    async def do(self, command: str, *, within: float = DEADLINE, **arguments: Any) -> Any:
        """Have it do something, and return what comes of it.

        Raises:
            SdkError: the SDK refused.
        """
        raise NotImplementedError

    def events(self, event: str, **like: Any) -> list[Said]:
        """Return what it said of one kind."""
        return [said for said in self.said if said["event"] == event and like.items() <= said.items()]

    def data(self, channel: str) -> list[Any]:
        """Return the data of all messages of a channel."""
        return [said["data"] for said in self.events("message", channel=channel)]

    def states(self) -> list[str]:
        """Return the states of its connection, in order."""
        return [said["state"] for said in self.events("connection")]

    async def until(self, condition: Callable[[], object], what: str, *, within: float = DEADLINE) -> None:
        """Wait until something becomes true by what it says."""
        try:
            async with asyncio.timeout(within):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{self._name}: {what}: not within {within:g} s; it said {self.said[-9:]}") from None

    async def hears(self, event: str, *, times: int = 1, within: float = DEADLINE, **like: Any) -> Said:
        """Wait until it has said something so many times, and return the last of these."""
        await self.until(lambda: len(self.events(event, **like)) >= times, f"{times} x {event} {like}", within=within)
        return self.events(event, **like)[times - 1]


class Sdk(Protocol):
    """Makes clients, and closes them."""

    async def open(
        self,
        name: str,
        *,
        port: int | None,
        tls: bool = False,
        key: str | None = None,
        auth: Said | None = None,
        client_id: str | None = None,
        binary: bool = False,
        echo: bool = True,
        transport: dict[str, str] | None = None,
    ) -> SdkClient:
        """Make a client, which connects.

        Args:
            name: for messages about it.
            port: of the server on loopback; None for Ably itself.
            tls: whether that server speaks TLS.
            key: of the application, for a client that may know it.
            auth: or where its tokens come from: ``{"key": …, "params": {…}}`` or ``{"url": …, "bearer": …}``.
            client_id: who it says it is.
            binary: MessagePack in place of JSON.
            echo: whether it gets its own messages.
            transport: more parameters of the connection.
        """
        ...
