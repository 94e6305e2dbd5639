"""The server half of the reference preset: the shortest one that keeps every promise.

It is a real `ServerPreset` behind the real gate, written to be read: one list of messages per channel, one task that
handles a connection's requests in order, one that writes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from starlette.routing import BaseRoute, WebSocketRoute

from tanstack_realtime._errors import AuthenticationError, PublishError, RealtimeError
from tanstack_realtime.server import Permissions, Publication, ServerContext, connection_with_token

from ._rooms import MAX_STATE, Rooms

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.types import Receive, Scope, Send

    from tanstack_realtime._keys import Channel
    from tanstack_realtime._transport import Capabilities

__all__ = ["MemoryServer"]

PATH: Final = "/memory"
"""Of the endpoint, below the mount."""

_HEARTBEAT: Final = 25.0
"""Seconds without a frame after which a client is pinged; as many later it counts as dead."""

_QUEUE: Final = 1000
"""Frames that may wait for one reader."""

_SOON: Final = Permissions(subscribe=True, expires_in=5.0)
"""The grant of a listener whom the server could not decide about: `authorize` failed, and is asked again soon."""

Frame: TypeAlias = "dict[str, Any]"

_Grant: TypeAlias = tuple[Literal["subscribe", "presence"], str]
"""What was granted on which channel."""


@dataclass(slots=True)
class _Stream:
    """One channel's messages since the server began to serve it."""

    epoch: str
    kept: deque[tuple[int, Frame]]
    offset: int = 0
    peers: dict[_Peer, None] = field(default_factory=dict["_Peer", None])

    def after(self, since: tuple[str, int] | None) -> list[Frame] | None:
        """Return what came after a position, or None where that cannot be proved complete."""
        if since is None or since[0] != self.epoch or not 0 <= self.offset - since[1] <= len(self.kept):
            return None
        return [message for offset, message in self.kept if offset > since[1]]


class MemoryServer:
    """Channels, who listens, and what was said. Made by `MemoryPreset`; two of them share nothing."""

    _instances: Final = itertools.count(1)

    def __init__(self, context: ServerContext, capabilities: Capabilities) -> None:
        self.context: Final = context
        self.capabilities: Final = capabilities
        self._life = next(self._instances)
        self._ids = itertools.count(1)
        self._streams: dict[str, _Stream] = {}
        self._peers: dict[_Peer, None] = {}  # ordered, so that a seed replays
        self.rooms: Final = Rooms()

    def routes(self) -> Sequence[BaseRoute]:
        """Return the endpoint of the transport."""
        return [WebSocketRoute(PATH, _Endpoint(self))]

    def public_url(self, connection: HTTPConnection, /) -> str:
        """Return an address; clients in memory do not need one."""
        return f"memory://{connection.url.netloc}"

    async def publish(self, publication: Publication, /) -> None:
        """Deliver a message to everybody who listens."""
        self.deliver(publication, None)

    def deliver(self, publication: Publication, publisher: _Peer | None) -> None:
        """Number a message, keep it, and hand it to every connection."""
        channel = publication.channel.raw
        stream = self._streams.get(channel)
        if stream is None:
            return
        stream.offset += 1
        message: Frame = {"data": json.loads(publication.text), "user": publication.user_id}
        if self.capabilities.recovery:
            message["position"] = [stream.epoch, stream.offset]
            stream.kept.append((stream.offset, message))
        for peer in list(stream.peers):
            own = peer is publisher
            if self.capabilities.echo or not own:
                peer.send({"type": "message", "channel": channel, **message, "own": own})

    async def revoke(self, user_id: str, channel: Channel | None, /) -> None:
        """End a user's access."""
        for peer in [peer for peer in self._peers if peer.user_id == user_id]:
            peer.revoke(None if channel is None else channel.raw)

    async def startup(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Send every client away."""
        peers = list(self._peers)
        for peer in peers:
            peer.close(1012, "the server stops; reconnect")
        if peers:
            await asyncio.wait([peer.gone for peer in peers])

    def subscribe(self, peer: _Peer, channel: str, since: tuple[str, int] | None) -> Frame:
        """Add a listener, and say from where on it hears everything."""
        stream = self._streams.get(channel)
        if stream is None:
            epoch = f"{self._life}-{len(self._streams) + 1}"
            stream = self._streams[channel] = _Stream(epoch, deque(maxlen=self.capabilities.history))
        stream.peers[peer] = None
        if not self.capabilities.recovery:
            return {}
        missed = stream.after(since)
        answer: Frame = {"position": [stream.epoch, stream.offset], "missed": missed or []}
        return answer if since is None else {**answer, "recovered": missed is not None}

    def unsubscribe(self, peer: _Peer, channel: str) -> None:
        """Remove a listener."""
        if channel in self._streams:
            self._streams[channel].peers.pop(peer, None)

    def listens(self, peer: _Peer, channel: str) -> bool:
        """Return whether a connection listens to a channel."""
        return channel in self._streams and peer in self._streams[channel].peers

    def attach(self, peer: _Peer) -> str:
        """Take in a connection, and return its id."""
        self._peers[peer] = None
        return f"connection-{self._life}-{next(self._ids)}"

    def detach(self, peer: _Peer) -> None:
        """Forget a connection."""
        self._peers.pop(peer, None)
        for stream in self._streams.values():
            stream.peers.pop(peer, None)
        self.rooms.remove(peer)


class _Endpoint:
    """The WebSocket endpoint, as plain ASGI."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await _Peer(self._server, scope, receive, send).run()


class _Peer:
    """One connection."""

    def __init__(self, server: MemoryServer, scope: Scope, receive: Receive, send: Send) -> None:
        self._server = server
        self._scope = scope
        self._receive = receive
        self._send = send
        self._inbox: asyncio.Queue[Frame] = asyncio.Queue(_QUEUE)
        self._outbox: asyncio.Queue[str] = asyncio.Queue(_QUEUE)
        self._closing: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._leases: dict[_Grant, asyncio.TimerHandle] = {}
        self._revocations = 0
        self.user_id: str | None = None
        self.connection_id = ""
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def send(self, frame: Frame) -> None:
        """Queue a frame; a reader that does not keep up is sent away, to come back and resynchronise."""
        try:
            self._outbox.put_nowait(json.dumps(frame, separators=(",", ":")))
        except asyncio.QueueFull:
            self.close(1013, "too slow")

    def close(self, code: int, reason: str) -> None:
        """End the connection from this side. The first reason stays."""
        if not self._closing.done():
            self._closing.set_result((code, reason))
            self._server.detach(self)

    def revoke(self, channel: str | None) -> None:
        """End access to a channel, or to everything."""
        self._revocations += 1
        if channel is None:
            self.close(4403, "access was revoked")
        else:
            self._end_grant(("subscribe", channel), "revoked", "access was revoked")
            self._end_grant(("presence", channel), "revoked", "access was revoked")

    async def run(self) -> None:
        """Serve until one side ends the connection."""
        loop = asyncio.get_running_loop()
        self.connection_id = connection_id = self._server.attach(self)
        tasks = [loop.create_task(work) for work in (self._read(), self._handle(connection_id), self._write())]
        observer = self._server.context.observer
        code, reason = 1006, ""
        try:
            first_end: list[asyncio.Future[Any]] = [*tasks, self._closing]
            await asyncio.wait(first_end, return_when=asyncio.FIRST_COMPLETED)
            if self._closing.done():
                code, reason = self._closing.result()
                while not self._outbox.empty():
                    await self._send({"type": "websocket.send", "text": self._outbox.get_nowait()})
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except OSError:
            pass  # the client has gone already
        finally:
            self._server.detach(self)
            for lease in self._leases.values():
                lease.cancel()
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            if self.user_id is not None:
                observer.disconnected(connection_id, self.user_id, code)
            self.gone.set_result(None)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, OSError):
                raise result

    # -- tasks ---------------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        pinged = False
        while True:
            try:
                async with asyncio.timeout(_HEARTBEAT):
                    event = await self._receive()
            except TimeoutError:
                if pinged:
                    self.close(4508, "nothing heard")
                    return
                pinged = True
                self.send({"type": "ping"})
                continue
            if event["type"] != "websocket.receive":
                return
            pinged = False
            frame = json.loads(event["text"])
            if frame["type"] == "ping":
                self.send({"type": "ok", "id": frame["id"]})
            elif frame["type"] != "pong":
                await self._inbox.put(frame)

    async def _write(self) -> None:
        while True:
            await self._send({"type": "websocket.send", "text": await self._outbox.get()})

    async def _handle(self, connection_id: str) -> None:
        context = self._server.context
        hello = await self._inbox.get()
        try:
            connection = connection_with_token(self._scope, hello["token"])
            context.gate.check_origin(connection)
            self.user_id, _ = await context.gate.authenticate(connection)
        except AuthenticationError as error:
            self.close(4500 if error.retryable else 4401, error.reason)
            return
        self.send({"type": "welcome", "connection": connection_id, "user": self.user_id})
        context.observer.connected(connection_id, self.user_id)
        while True:
            frame = await self._inbox.get()
            if frame["type"] == "recheck":
                await self._recheck(self.user_id, frame["grant"])
                continue
            try:
                self.send({"type": "ok", "id": frame["id"], **await self._answer(self.user_id, frame)})
            except RealtimeError as error:
                refusal = {"code": error.code, "reason": error.reason, "retryable": error.retryable}
                self.send({"type": "error", "id": frame["id"], **refusal})

    async def _answer(self, user_id: str, frame: Frame) -> Frame:
        server, channel = self._server, frame["channel"]
        match frame["type"]:
            case "subscribe":
                grant = await self._admit(user_id, ("subscribe", channel))
                since = frame["since"]
                answer = server.subscribe(self, channel, None if since is None else (since[0], since[1]))
                self._lease(("subscribe", channel), grant)
                return answer
            case "unsubscribe":
                self._forget(("subscribe", channel))
            case "publish":
                publication = await server.context.gate.admit_publish(user_id, channel, frame["data"])
                server.deliver(publication, self)
                server.context.observer.published(publication)
            case "observe" | "join" if server.capabilities.presence is None:
                raise PublishError("this provider has no presence", code="unsupported", channel=channel)
            case "observe":
                grant = await self._admit(user_id, ("presence", channel))
                server.rooms.observe(self, channel)
                self._lease(("presence", channel), grant)
            case "join":
                grant = await self._admit(user_id, ("presence", channel))
                server.rooms.join(self, channel, _state(frame))
                self._lease(("presence", channel), grant)
            case "update":
                server.rooms.update(self, channel, _state(frame))
            case "leave":
                server.rooms.leave(self, channel)
            case "unobserve":
                self._forget(("presence", channel))
            case kind:
                raise PublishError(f"this server does not know {kind!r}", code="unsupported")
        return {}

    # -- grants --------------------------------------------------------------------------------------------------------

    async def _admit(self, user_id: str, grant: _Grant) -> Permissions:
        gate, (operation, channel) = self._server.context.gate, grant
        while True:
            revocations = self._revocations
            permissions = await gate.admit(user_id, gate.parse(channel), operation)
            if revocations == self._revocations:
                return permissions

    def _holds(self, grant: _Grant) -> bool:
        operation, channel = grant
        return (self._server.listens if operation == "subscribe" else self._server.rooms.is_in)(self, channel)

    def _lease(self, grant: _Grant, permissions: Permissions) -> None:
        if permissions.expires_in is not None and self._holds(grant):
            loop = asyncio.get_running_loop()
            # An expired grant is asked for again; the answer comes in its turn among the client's own requests.
            self._leases[grant] = loop.call_later(permissions.expires_in, self._expired, grant)

    def _expired(self, grant: _Grant) -> None:
        try:
            self._inbox.put_nowait({"type": "recheck", "grant": grant})
        except asyncio.QueueFull:
            self._lease(grant, _SOON)

    async def _recheck(self, user_id: str, grant: _Grant) -> None:
        try:
            self._lease(grant, await self._admit(user_id, grant))
        except RealtimeError as error:
            if error.retryable:
                self._lease(grant, _SOON)
            else:
                self._end_grant(grant, error.code, error.reason)

    def _end_grant(self, grant: _Grant, code: str, reason: str) -> None:
        if self._forget(grant):
            self.send({"type": "revoked", "what": grant[0], "channel": grant[1], "code": code, "reason": reason})

    def _forget(self, grant: _Grant) -> bool:
        lease = self._leases.pop(grant, None)
        if lease is not None:
            lease.cancel()
        held = self._holds(grant)
        if grant[0] == "subscribe":
            self._server.unsubscribe(self, grant[1])
        else:
            self._server.rooms.unobserve(self, grant[1])
        return held


def _state(frame: Frame) -> dict[str, Any]:
    state = frame["state"]
    if not isinstance(state, dict) or len(json.dumps(state).encode()) > MAX_STATE:
        raise PublishError(
            f"a presence state is a JSON object of at most {MAX_STATE} bytes", code="too_large", reason="bad state"
        )
    return cast("dict[str, Any]", state)
