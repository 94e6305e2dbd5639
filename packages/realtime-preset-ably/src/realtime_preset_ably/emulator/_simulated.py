"""The realtime half without sockets, in a time that is moved by hand. This package's tests are written with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ._access import App, Key
from ._authority import Authority
from ._capability import Capability
from ._clock import Clock
from ._connection import Connection
from ._limits import Limits
from ._outbox import Outbox
from ._realtime import Realtime
from ._wire import Action

__all__ = ["KEY", "Socket", "World"]

KEY: Final = "app.key:secret"


class Hand:
    """A clock that is moved by hand, and moves the server with it."""

    def __init__(self) -> None:
        self.time = 1_800_000_000_000
        self.realtime: Realtime | None = None

    def now(self) -> int:
        return self.time

    def advance(self, milliseconds: int) -> None:
        """Pass through every deadline on the way."""
        assert self.realtime is not None
        end = self.time + milliseconds
        while (next_tick := self.realtime.next_tick) <= end:
            self.time = max(self.time, next_tick)
            self.realtime.tick()
        self.time = end


class Socket:
    """A client's socket, which holds what was sent to it."""

    def __init__(self, world: World, query: Mapping[str, str]) -> None:
        self.world = world
        self.heard: list[dict[str, Any]] = []
        self.outbox = Outbox("json", world.realtime.limits, self._on_change)
        self.connection: Connection | None = world.realtime.connect(query, self.outbox)

    def send(self, action: Action, **fields: object) -> list[dict[str, Any]]:
        """Send a protocol message; return what came in answer."""
        return self.raw(json.dumps({"action": action, **fields}))

    def raw(self, text: str) -> list[dict[str, Any]]:
        """Send a WebSocket message; return what came in answer."""
        assert self.connection is not None
        before = len(self.heard)
        self.world.realtime.receive(self.connection, self.outbox, text)
        return self.heard[before:]

    def attach(self, channel: str = "c", **fields: object) -> list[dict[str, Any]]:
        return self.send(Action.ATTACH, channel=channel, **fields)

    def publish(self, number: int, *data: str, channel: str = "c", **fields: object) -> list[dict[str, Any]]:
        return self.send(
            Action.MESSAGE, channel=channel, msgSerial=number, messages=[{"data": text, **fields} for text in data]
        )

    def present(self, number: int, action: int, *, channel: str = "c", **fields: object) -> list[dict[str, Any]]:
        return self.send(Action.PRESENCE, channel=channel, msgSerial=number, presence=[{"action": action, **fields}])

    def lose(self) -> None:
        """Lose the socket without a word."""
        assert self.connection is not None
        self.connection.socket_lost(self.outbox)

    def of(self, action: Action) -> list[dict[str, Any]]:
        """Return what was heard of one kind."""
        return [frame for frame in self.heard if frame["action"] == action]

    def data(self) -> list[str]:
        """Return the payloads of the messages that were heard."""
        return [message["data"] for frame in self.of(Action.MESSAGE) for message in frame["messages"]]

    def presence(self) -> list[tuple[int, str]]:
        """Return action and client id of the presence events that were heard."""
        return [
            (event["action"], event["clientId"]) for frame in self.of(Action.PRESENCE) for event in frame["presence"]
        ]

    @property
    def details(self) -> dict[str, Any]:
        """The connection details of the last CONNECTED."""
        found: dict[str, Any] = self.of(Action.CONNECTED)[-1]["connectionDetails"]
        return found

    def _on_change(self) -> None:
        while (encoded := self.outbox.take()) is not None:
            self.heard.append(json.loads(encoded))


class World:
    """A server and its time."""

    def __init__(self, clock: Clock | None = None, **limits: int) -> None:
        hand = Hand()
        self.clock = clock or hand
        self.authority = Authority(self.clock.now)
        key = Key("app", "key", "secret", Capability.parse({"*": ["*"]}), revocable=True)
        self.authority.add(App("app", {"key": key}))
        self.authority.add(App("other", {"key": Key("other", "key", "secret", key.capability)}))
        self.realtime = hand.realtime = Realtime(self.authority, self.clock, Limits(**limits))

    def token(self, capability: object = None, client_id: str | None = None, ttl: int = 3_600_000) -> str:
        """Return a token of the key."""
        body: dict[str, object] = {
            "keyName": "app.key",
            "ttl": ttl,
            "timestamp": self.clock.now(),
            "clientId": client_id,
        }
        if capability is not None:
            body["capability"] = json.dumps(capability)
        return self.authority.request_token("app.key", body, self.authority.by_key(KEY))["token"]

    def connect(self, **query: str) -> Socket:
        """Connect with the key, unless the query shows a token."""
        return Socket(self, query if "accessToken" in query else {"key": KEY, **query})

    def resume(self, socket: Socket, **query: str) -> Socket:
        """Connect again with a connection's key."""
        return self.connect(resume=socket.details["connectionKey"], **query)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(round(seconds * 1000))
