"""The wire protocol, as docs/protocol.md writes it down: frames from JSON and to JSON.

Strict about what it knows and silent about what it does not: a known frame with a wrong member is an error with the
frame's id, an unknown member is ignored, an unknown type is `UnknownFrame`. Both ends use this module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeGuard, cast

from tanstack_realtime import RealtimeError
from tanstack_realtime._json import MAX_DEPTH, decode_json, encode_json, scan_json

from ._frames import (
    MAX_ID,
    Auth,
    AuthRequest,
    BadFrameError,
    ClientFrame,
    ErrorFrame,
    Gap,
    Hello,
    Messages,
    Ok,
    Ping,
    Pong,
    PresenceChange,
    PresenceJoin,
    PresenceLeave,
    PresenceMember,
    PresenceObserve,
    PresenceRevoked,
    PresenceSnapshot,
    PresenceUnobserve,
    PresenceUpdate,
    Publish,
    Revoked,
    ServerFrame,
    Subscribe,
    Subscription,
    UnknownFrame,
    Unsubscribe,
    Welcome,
)

__all__ = [
    "auth_request_frame",
    "client_frame",
    "error_frame",
    "gap_frame",
    "messages_body",
    "messages_frame",
    "ok_frame",
    "parse_client_frame",
    "parse_server_frame",
    "ping_frame",
    "pong_frame",
    "presence_change_frame",
    "presence_frame",
    "presence_member",
    "presence_revoked_frame",
    "revoked_frame",
    "subscription_frame",
    "welcome_frame",
]

_FRAME_DEPTH: Final = MAX_DEPTH + 4
"""A frame's own objects and arrays come on top of what a payload may have."""

_PUBLISH: Final = re.compile(r'\{"type":"publish","id":(0|[1-9][0-9]{0,14}),"channel":"([!#-\[\]-~]*)","data":')
"""How `client_frame` begins a publish. Written otherwise it means the same, and is read like every other frame."""

_quoted = lru_cache(maxsize=1024)(json.dumps)
"""User ids as JSON: each is in many messages."""


class _Members:
    """Typed access to a frame's members; every failure names the member and carries the frame's id.

    Args:
        members: what was read.
        frame: the frame, where these are members of an object in it.
    """

    def __init__(self, members: Mapping[str, Any], frame: Mapping[str, Any] | None = None) -> None:
        self._members = members
        self._frame = members if frame is None else frame

    @property
    def id(self) -> int | None:
        identifier: object = self._frame.get("id")
        return identifier if _is_int(identifier) and 0 <= identifier <= MAX_ID else None

    def fail(self, reason: str) -> BadFrameError:
        return BadFrameError(reason, id=self.id)

    def has(self, name: str) -> bool:
        return self._members.get(name) is not None

    def raw(self, name: str) -> Any:
        if name not in self._members:
            raise self.fail(f"{name!r} is missing")
        return self._members[name]

    def text(self, name: str) -> str:
        value: object = self._members.get(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a string")
        return value

    def integer(self, name: str) -> int:
        value: object = self._members.get(name)
        if not _is_int(value) or not 0 <= value <= MAX_ID:
            raise self._wrong(name, "an integer from 0 to 2^53-1")
        return value

    def seconds(self, name: str) -> float:
        value: object = self._members.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
            raise self._wrong(name, "a positive number of seconds")
        return float(value)

    def flag(self, name: str) -> bool:
        value: object = self._members.get(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def array(self, name: str) -> list[Any]:
        value: object = self._members.get(name)
        if not _is_array(value):
            raise self._wrong(name, "an array")
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        value: object = self._members.get(name)
        if not isinstance(value, dict):
            raise self._wrong(name, "an object")
        return cast("dict[str, Any]", value)

    def nested(self, name: str) -> _Members:
        return _Members(self.mapping(name), self._frame)

    def _wrong(self, name: str, wanted: str) -> BadFrameError:
        return self.fail(f"{name!r} must be {wanted}" if name in self._members else f"{name!r} is missing")


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _hello(m: _Members) -> Hello:
    versions = m.array("versions")
    if not versions or not all(_is_int(version) for version in versions):
        raise m.fail("'versions' must be a non-empty array of integers")
    token = m.text("token") if m.has("token") else None
    return Hello(tuple(versions), token, m.text("client")[:128] if m.has("client") else "")


def _subscribe(m: _Members) -> Subscribe:
    since = None
    if m.has("since"):
        position = m.nested("since")
        since = (position.text("epoch"), position.integer("offset"))
    return Subscribe(m.integer("id"), m.text("channel"), since)


def _messages(m: _Members, channel: str) -> Messages:
    user = m.text("user") if m.has("user") else None
    superseded = m.integer("superseded") if m.has("superseded") else 0
    return Messages(channel, m.integer("offset"), m.array("data"), user, m.has("own") and m.flag("own"), superseded)


def _subscription(m: _Members) -> Subscription:
    channel = m.text("channel")
    missed: list[Messages] = []
    for item in m.array("missed") if m.has("missed") else []:
        if not isinstance(item, dict):
            raise m.fail("'missed' must be an array of objects")
        missed.append(_messages(_Members(cast("dict[str, Any]", item)), channel))
    recovered = m.flag("recovered") if m.has("recovered") else None
    return Subscription(m.integer("id"), channel, m.text("epoch"), m.integer("offset"), recovered, tuple(missed))


def _presence_members(m: _Members) -> tuple[PresenceMember, ...]:
    found: list[PresenceMember] = []
    for item in m.array("members") if m.has("members") else []:
        if not isinstance(item, dict):
            raise m.fail("'members' must be an array of objects")
        member = _Members(cast("dict[str, Any]", item))
        stalled = member.has("stalled") and member.flag("stalled")
        found.append(PresenceMember(member.text("connection"), member.text("user"), member.mapping("state"), stalled))
    return tuple(found)


def _presence_change(m: _Members) -> PresenceChange:
    left = m.array("left") if m.has("left") else []
    if not all(isinstance(name, str) for name in left):
        raise m.fail("'left' must be an array of strings")
    return PresenceChange(m.text("channel"), _presence_members(m), tuple(left))


_CLIENT_FRAMES: Final[Mapping[str, Callable[[_Members], ClientFrame]]] = {
    "hello": _hello,
    "auth": lambda m: Auth(m.integer("id"), m.text("token") if m.has("token") else None),
    "subscribe": _subscribe,
    "unsubscribe": lambda m: Unsubscribe(m.integer("id"), m.text("channel")),
    "publish": lambda m: Publish(m.integer("id"), m.text("channel"), m.raw("data")),
    "ping": lambda m: Ping(m.integer("id") if m.has("id") else None),
    "pong": lambda m: Pong(m.integer("id") if m.has("id") else None),
    "presence.join": lambda m: PresenceJoin(m.integer("id"), m.text("channel"), m.mapping("state")),
    "presence.update": lambda m: PresenceUpdate(m.integer("id"), m.text("channel"), m.mapping("state")),
    "presence.leave": lambda m: PresenceLeave(m.integer("id"), m.text("channel")),
    "presence.observe": lambda m: PresenceObserve(m.integer("id"), m.text("channel")),
    "presence.unobserve": lambda m: PresenceUnobserve(m.integer("id"), m.text("channel")),
}

_SERVER_FRAMES: Final[Mapping[str, Callable[[_Members], ServerFrame]]] = {
    "welcome": lambda m: Welcome(
        version=m.integer("version"),
        connection=m.text("connection"),
        user=m.text("user"),
        preset=m.text("preset"),
        heartbeat=m.seconds("heartbeat"),
        timeout=m.seconds("timeout"),
        max_message_bytes=m.integer("max_message_bytes"),
        restart_spread=m.seconds("restart_spread") if m.has("restart_spread") else 0.0,
    ),
    "auth": lambda m: AuthRequest(m.seconds("within")),
    "subscribed": _subscription,
    "ok": lambda m: Ok(m.integer("id")),
    "error": lambda m: ErrorFrame(
        m.id,
        m.text("code"),
        m.text("reason"),
        m.flag("retryable"),
        m.seconds("retry_after") if m.has("retry_after") else None,
    ),
    "messages": lambda m: _messages(m, m.text("channel")),
    "gap": lambda m: Gap(m.text("channel"), m.text("reason"), m.integer("missed")),
    "revoked": lambda m: Revoked(m.text("channel"), m.text("code"), m.text("reason")),
    "ping": lambda m: Ping(m.integer("id") if m.has("id") else None),
    "pong": lambda m: Pong(m.integer("id") if m.has("id") else None),
    "presence": lambda m: PresenceSnapshot(m.integer("id"), m.text("channel"), _presence_members(m)),
    "presence.change": _presence_change,
    "presence.revoked": lambda m: PresenceRevoked(m.text("channel"), m.text("code"), m.text("reason")),
}


def _members(text: str) -> tuple[str, _Members]:
    try:
        frame: object = decode_json(text, max_depth=_FRAME_DEPTH)
    except ValueError as error:
        raise BadFrameError(f"not JSON: {error}") from None
    if not isinstance(frame, dict):
        raise BadFrameError("a frame is a JSON object")
    members = _Members(cast("dict[str, Any]", frame))
    return members.text("type"), members


def parse_client_frame(text: str) -> ClientFrame:
    """Parse one frame of a client.

    Raises:
        BadFrameError: not JSON, or a known frame with a wrong or missing member.
    """
    head = _PUBLISH.match(text)
    if head is not None and text.endswith("}"):
        scanned = scan_json(text, head.end(), -1)
        if scanned is not None:
            number, channel = head.groups()
            return Publish(int(number), channel, *scanned)
    kind, members = _members(text)
    parse = _CLIENT_FRAMES.get(kind)
    return UnknownFrame(kind, members.id) if parse is None else parse(members)


def parse_server_frame(text: str) -> ServerFrame:
    """Parse one frame of a server.

    Raises:
        BadFrameError: not JSON, or a known frame with a wrong or missing member.
    """
    kind, members = _members(text)
    parse = _SERVER_FRAMES.get(kind)
    return UnknownFrame(kind, members.id) if parse is None else parse(members)


# -- writing ---------------------------------------------------------------------------------------------------------


def client_frame(frame: ClientFrame) -> str:
    """Write a client's frame.

    Raises:
        ValueError: the data of a publish is not JSON.
    """
    match frame:
        case Hello(versions, token, client):
            wire: dict[str, Any] = {"type": "hello", "versions": versions}
            if token is not None:
                wire["token"] = token
            if client:
                wire["client"] = client
        case Auth(identifier, token):
            wire = {"type": "auth", "id": identifier}
            if token is not None:
                wire["token"] = token
        case Subscribe(identifier, channel, since):
            wire = {"type": "subscribe", "id": identifier, "channel": channel}
            if since is not None:
                wire["since"] = {"epoch": since[0], "offset": since[1]}
        case Unsubscribe(identifier, channel):
            wire = {"type": "unsubscribe", "id": identifier, "channel": channel}
        case Publish(identifier, channel, data):
            # As in `messages_frame`, and `Encoded` data is not encoded again.
            return f'{{"type":"publish","id":{identifier},"channel":"{channel}","data":{encode_json(data)}}}'
        case PresenceJoin(identifier, channel, state):
            wire = {"type": "presence.join", "id": identifier, "channel": channel, "state": state}
        case PresenceUpdate(identifier, channel, state):
            wire = {"type": "presence.update", "id": identifier, "channel": channel, "state": state}
        case PresenceLeave(identifier, channel):
            wire = {"type": "presence.leave", "id": identifier, "channel": channel}
        case PresenceObserve(identifier, channel):
            wire = {"type": "presence.observe", "id": identifier, "channel": channel}
        case PresenceUnobserve(identifier, channel):
            wire = {"type": "presence.unobserve", "id": identifier, "channel": channel}
        case Ping(identifier):
            return ping_frame(identifier)
        case Pong(identifier):
            return pong_frame(identifier)
        case UnknownFrame(kind, identifier):
            wire = {"type": kind, "id": identifier}
    return encode_json(wire, max_depth=_FRAME_DEPTH)


def welcome_frame(welcome: Welcome) -> str:
    """Write the answer to hello."""
    wire: dict[str, Any] = {
        "type": "welcome",
        "version": welcome.version,
        "connection": welcome.connection,
        "user": welcome.user,
        "preset": welcome.preset,
        "heartbeat": welcome.heartbeat,
        "timeout": welcome.timeout,
        "max_message_bytes": welcome.max_message_bytes,
    }
    if welcome.restart_spread:
        wire["restart_spread"] = welcome.restart_spread
    return encode_json(wire)


def auth_request_frame(within: float) -> str:
    """Write that a new token is needed within so many seconds."""
    return f'{{"type":"auth","within":{within:.3f}}}'


def messages_body(offset: int, texts: Iterable[str], user_id: str | None) -> str:
    """Write what live messages and replayed ones have in common, from payloads that are JSON already.

    Args:
        offset: number of the first.
        texts: payloads of messages that follow each other.
        user_id: who published them all.
    """
    user = "" if user_id is None else f',"user":{_quoted(user_id)}'
    return f'"offset":{offset},"data":[{",".join(texts)}]{user}'


def messages_frame(channel: str, body: str, *, own: bool = False, superseded: int = 0) -> str:
    """Write live messages. A canonical channel needs no escaping: it is ASCII without quotes and backslashes.

    Args:
        channel: wire string.
        body: see `messages_body`.
        own: whether they are for their publisher.
        superseded: how many messages right before them were not sent, since later ones supersede them.
    """
    marks = (',"own":true' if own else "") + (f',"superseded":{superseded}' if superseded else "")
    return f'{{"type":"messages","channel":"{channel}",{body}{marks}}}'


def gap_frame(channel: str, reason: str, missed: int) -> str:
    """Write that so many messages of a channel were dropped for this client."""
    return f'{{"type":"gap","channel":"{channel}","reason":{json.dumps(reason)},"missed":{missed}}}'


def subscription_frame(
    identifier: int, channel: str, epoch: str, offset: int, recovered: bool | None, missed: Sequence[str]
) -> str:
    """Write the acknowledgement of a subscribe; `missed` holds bodies, see `messages_body`."""
    tail = ""
    if recovered is not None:
        tail = f',"recovered":{"true" if recovered else "false"}'
    if missed:
        tail += f',"missed":[{",".join(f"{{{body}}}" for body in missed)}]'
    head = f'"type":"subscribed","id":{identifier},"channel":"{channel}","epoch":{json.dumps(epoch)},"offset":{offset}'
    return f"{{{head}{tail}}}"


def presence_member(connection_id: str, user_id: str, state: str, *, stalled: bool) -> str:
    """Write one member; `state` is JSON already."""
    mark = ',"stalled":true' if stalled else ""
    return f'{{"connection":{json.dumps(connection_id)},"user":{json.dumps(user_id)},"state":{state}{mark}}}'


def presence_frame(identifier: int, channel: str, members: Sequence[str]) -> str:
    """Write the answer to a presence join or observe."""
    return f'{{"type":"presence","id":{identifier},"channel":"{channel}","members":[{",".join(members)}]}}'


def presence_change_frame(channel: str, members: Sequence[str], left: Sequence[str]) -> str:
    """Write who joined, changed and left."""
    joined = f',"members":[{",".join(members)}]' if members else ""
    gone = f',"left":{json.dumps(left, separators=(",", ":"))}' if left else ""
    return f'{{"type":"presence.change","channel":"{channel}"{joined}{gone}}}'


def presence_revoked_frame(channel: str, code: str, reason: str) -> str:
    """Write that presence on a channel has ended."""
    wire = {"type": "presence.revoked", "channel": channel, "code": code, "reason": reason}
    return json.dumps(wire, separators=(",", ":"))


def ok_frame(identifier: int) -> str:
    """Write the answer to a request that was done."""
    return f'{{"type":"ok","id":{identifier}}}'


def error_frame(identifier: int | None, error: RealtimeError) -> str:
    """Write the answer to a request that was refused."""
    wire: dict[str, Any] = {"type": "error"}
    if identifier is not None:
        wire["id"] = identifier
    wire |= {"code": error.code, "reason": error.reason, "retryable": error.retryable}
    if error.retry_after is not None:
        wire["retry_after"] = round(error.retry_after, 3)
    return json.dumps(wire, separators=(",", ":"))


def revoked_frame(channel: str, code: str, reason: str) -> str:
    """Write that a subscription has ended."""
    return json.dumps({"type": "revoked", "channel": channel, "code": code, "reason": reason}, separators=(",", ":"))


def ping_frame(identifier: int | None = None) -> str:
    """Write a ping."""
    return '{"type":"ping"}' if identifier is None else f'{{"type":"ping","id":{identifier}}}'


def pong_frame(identifier: int | None = None) -> str:
    """Write the answer to a ping."""
    return '{"type":"pong"}' if identifier is None else f'{{"type":"pong","id":{identifier}}}'
