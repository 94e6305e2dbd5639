"""The client half of the reference preset: requests with numbers, and one task that reads."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

from tanstack_realtime._errors import AuthenticationError, ChannelDeniedError, ConnectionLostError, PublishError
from tanstack_realtime._json import encode_json
from tanstack_realtime._presence_link import PresenceEntry
from tanstack_realtime._transport import CloseReason, Inbound, Position, SubscribeAck

from ._socket import SocketClosedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tanstack_realtime._presence_link import PresenceSink
    from tanstack_realtime._transport import JSON, LinkSink

    from ._socket import MemorySocket

__all__ = ["MemoryLink"]

_DENIED = ("denied", "bad_channel")


class MemoryLink:
    """An authenticated connection of the reference preset."""

    def __init__(self, socket: MemorySocket, sink: LinkSink) -> None:
        self._socket = socket
        self._sink = sink
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ended: CloseReason | None = None
        self._reader: asyncio.Task[None] | None = None
        self._rooms: dict[str, PresenceSink] = {}
        self.connection_id = ""
        self.user_id: str | None = None

    async def handshake(self, token: str | None, client_id: str) -> None:
        """Say who we are, and wait until the server has welcomed us."""
        try:
            await self._socket.send(json.dumps({"type": "hello", "token": token, "client": client_id}))
            welcome = json.loads(await self._socket.recv())
        except SocketClosedError as error:
            if error.code in range(4400, 4500):
                raise AuthenticationError(f"the server refused us: {error.reason}", reason=error.reason) from error
            raise ConnectionLostError(f"the server did not welcome us: {error}", reason=error.reason) from error
        self.connection_id = welcome["connection"]
        self.user_id = welcome["user"] or None
        self._reader = asyncio.get_running_loop().create_task(self._read())

    async def subscribe(self, channel: str, /, *, since: Position | None) -> SubscribeAck:
        """Subscribe and wait for the acknowledgement."""
        position = None if since is None else [since.epoch, since.offset]
        answer = await self._request({"type": "subscribe", "channel": channel, "since": position})
        missed = [_inbound({**message, "own": None}) for message in answer.get("missed", ())]
        return SubscribeAck(_position(answer), answer.get("recovered"), missed)

    async def unsubscribe(self, channel: str, /) -> None:
        """Stop a channel."""
        try:
            await self._request({"type": "unsubscribe", "channel": channel})
        except ConnectionLostError:
            return

    async def publish(self, channel: str, data: JSON, /) -> None:
        """Publish and wait until the server has accepted it."""
        await self._request({"type": "publish", "channel": channel, "data": data})

    # -- presence ------------------------------------------------------------------------------------------------------

    async def observe_presence(self, channel: str, sink: PresenceSink, /) -> None:
        """Hear who the members are."""
        self._rooms[channel] = sink
        await self._request({"type": "observe", "channel": channel})

    async def join_presence(self, channel: str, state: Mapping[str, Any], sink: PresenceSink, /) -> None:
        """Be a member, or change the own state."""
        self._rooms[channel] = sink
        await self._request({"type": "join", "channel": channel, "state": dict(state)})

    async def update_presence(self, channel: str, state: Mapping[str, Any], _clock: int, /) -> None:
        """Replace the own state."""
        await self._request({"type": "update", "channel": channel, "state": dict(state)})

    async def leave_presence(self, channel: str, /) -> None:
        """Be a member no longer."""
        await self._request({"type": "leave", "channel": channel})

    async def unobserve_presence(self, channel: str, /) -> None:
        """Hear nothing more."""
        self._rooms.pop(channel, None)
        try:
            await self._request({"type": "unobserve", "channel": channel})
        except ConnectionLostError:
            return

    # -- all of it -----------------------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """A round trip to the server."""
        await self._request({"type": "ping"})

    async def close(self) -> None:
        """Close, and wait until nothing is left."""
        self._end(CloseReason(1000, "closed by this client"))
        self._socket.close()
        if self._reader is not None:
            await asyncio.wait([self._reader])

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _request(self, frame: dict[str, Any]) -> dict[str, Any]:
        if self._ended is not None:
            raise self._lost()
        number = next(self._ids)
        try:
            text = encode_json({**frame, "id": number}, max_depth=200)
        except ValueError as error:
            raise PublishError(f"the data is not JSON: {error}", code="bad_data", reason="not JSON") from error
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        try:
            await self._socket.send(text)
            answer = await future
        except SocketClosedError as error:
            raise self._lost() from error
        finally:
            self._pending.pop(number, None)
        if answer["type"] == "error":
            denied = frame["type"] == "subscribe" or answer["code"] in _DENIED
            raise (ChannelDeniedError if denied else PublishError)(
                f"the server refused to {frame['type']} {frame.get('channel')!r}: {answer['reason']}",
                channel=frame.get("channel"),
                code=answer["code"],
                reason=answer["reason"],
                retryable=answer["retryable"],
            )
        return answer

    async def _read(self) -> None:
        try:
            while True:
                await self._take(json.loads(await self._socket.recv()))
        except SocketClosedError as error:
            reason = CloseReason(error.code, error.reason, retry=error.code not in range(4400, 4500))
            if self._end(reason):
                self._sink.closed(reason)

    async def _take(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "message":
                self._sink.message(frame["channel"], _inbound(frame))
            case "members" | "presence" | "revoked" if frame.get("what") != "subscribe":
                self._take_presence(frame)
            case "revoked":
                self._sink.revoked(frame["channel"], frame["code"], frame["reason"])
            case "ping":
                await self._socket.send('{"type":"pong"}')
            case _:
                future = self._pending.get(frame["id"])
                if future is not None and not future.done():
                    future.set_result(frame)

    def _take_presence(self, frame: dict[str, Any]) -> None:
        sink = self._rooms.get(frame["channel"])
        if sink is None:
            return  # unobserved meanwhile
        match frame["type"]:
            case "members":
                sink.snapshot([_entry(entry) for entry in frame["entries"]])
            case "presence":
                sink.changed([_entry(entry) for entry in frame["entries"]], frame["left"])
            case _:
                del self._rooms[frame["channel"]]
                sink.revoked(frame["code"], frame["reason"])

    def _end(self, reason: CloseReason) -> bool:
        if self._ended is not None:
            return False
        self._ended = reason
        for future in self._pending.values():
            if not future.done():
                future.set_exception(self._lost())
        return True

    def _lost(self) -> ConnectionLostError:
        reason = self._ended.reason if self._ended is not None else "the connection broke"
        return ConnectionLostError(f"the connection is gone: {reason}", reason=reason)


def _position(frame: dict[str, Any]) -> Position | None:
    position = frame.get("position")
    return None if position is None else Position(position[0], position[1])


def _entry(entry: dict[str, Any]) -> PresenceEntry:
    return PresenceEntry(entry["connection"], entry["user"] or None, entry["state"])


def _inbound(frame: dict[str, Any]) -> Inbound:
    return Inbound(frame["data"], _position(frame), frame["own"], frame["user"])
