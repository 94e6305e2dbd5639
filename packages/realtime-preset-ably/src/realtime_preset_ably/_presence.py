"""Who is in a room, as one link knows it: Ably's own presence, on the room's channel.

A member's data is its state. Ably keeps it, tells it to whoever comes, and keeps the order of one member's changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

from tanstack_realtime import PresenceEntry, PresenceSink, PublishError, RealtimeError
from tanstack_realtime._json import encode_json

from ._codes import refusal
from ._limits import MAX_STATE_BYTES
from ._names import user_of
from ._sdk_channel import ChannelChange, Member, SdkChannel, SdkError

__all__ = ["Room", "check_state", "not_joined"]


class Room:
    """One channel's members.

    Args:
        channel: wire name.
        sdk: the room's channel at Ably.
        sink: is told.
        ended: forgets this room, which Ably ended.

    Attributes:
        joined: whether the link is a member.
    """

    def __init__(self, channel: str, sdk: SdkChannel, sink: PresenceSink, *, ended: Callable[[Room], object]) -> None:
        self.channel = channel
        self.sink = sink
        self.joined = False
        self._sdk = sdk
        self._ended = ended
        self._live = False
        self._stopped = False
        self._refusal: SdkError | None = None
        self._names = _Names()

    async def open(self) -> None:
        """Attach, and tell who is there.

        Raises:
            ChannelDeniedError: refused.
            ConnectionLostError: there was no answer.
        """
        self._sdk.watch(self._on_change)
        try:
            await self._sdk.observe(self._on_member)
        except SdkError as error:
            raise self._refused(self._refusal or error) from error
        await self.tell()

    async def tell(self) -> None:
        """Tell the sink all members.

        Raises:
            ChannelDeniedError: refused.
            ConnectionLostError: there was no answer.
        """
        try:
            members = await self._sdk.members()
        except SdkError as error:
            raise self._refused(self._refusal or error) from error
        if not self._stopped:
            self._live = True
            self._names = _Names()
            self.sink.snapshot([entry for member in members if (entry := self._names.entry(member)) is not None])

    async def enter(self, state: Mapping[str, Any]) -> None:
        """Be a member with this state.

        Raises:
            ChannelDeniedError: refused.
            PublishError: too fast.
            ConnectionLostError: there was no answer.
        """
        try:
            await self._sdk.enter(dict(state))
        except SdkError as error:
            raise self._refused(error) from error
        self.joined = True

    async def update(self, state: Mapping[str, Any]) -> None:
        """Say the own state to everybody.

        Raises:
            PublishError: too large, too fast, or no member (``not_joined``).
            ConnectionLostError: there was no answer.
        """
        check_state(self.channel, state)
        if not self.joined:
            raise not_joined(self.channel)
        try:
            await self._sdk.update(dict(state))
        except SdkError as error:
            raise self._refused(error) from error

    async def leave(self) -> None:
        """Be a member no longer."""
        if not self.joined:
            return
        self.joined = False
        try:
            await self._sdk.leave()
        except SdkError as error:
            raise self._refused(error) from error

    async def stop(self) -> None:
        """Hear nothing more, at once; then detach, which leaves too."""
        self.lost()
        self.joined = False
        await self._sdk.detach()

    def lost(self) -> None:
        """The connection is gone."""
        self._stopped = True
        self._sdk.silence()

    def revoke(self, code: str, reason: str) -> None:
        """It is not granted any more. Ably ends it as soon as it has the token that says so."""
        if not self._stopped:
            self.lost()
            self.joined = False
            self._ended(self)
            self.sink.revoked(code, reason)

    # -- called by the SDK ---------------------------------------------------------------------------------------------

    def _on_change(self, change: ChannelChange) -> None:
        if change.state != "failed":
            return
        if self._live:
            error = self._refused(change.error)
            self.revoke(error.code, error.reason or str(error))
            asyncio.get_running_loop().call_soon(self._sdk.forget)  # the SDK is going through its channels
        else:
            self._refusal = change.error

    def _on_member(self, member: Member) -> None:
        if not self._live or self._stopped:
            return  # the first answer holds it
        if member.left:
            name = self._names.left(member)
            if name is not None:
                self.sink.changed([], [name])
        elif (entry := self._names.entry(member)) is not None:
            self.sink.changed([entry], [])

    # -- inside --------------------------------------------------------------------------------------------------------

    def _refused(self, why: SdkError) -> RealtimeError:
        return refusal("presence", self.channel, why.code, why.status, why.message)


def check_state(channel: str, state: Mapping[str, Any]) -> None:
    """Raise `PublishError` if a state is not JSON, or is too large."""
    try:
        size = len(encode_json(dict(state)).encode())
    except ValueError as error:
        raise PublishError(
            f"a state on {channel!r} is not JSON: {error}",
            channel=channel,
            code="bad_data",
            reason="not JSON",
        ) from error
    if size > MAX_STATE_BYTES:
        raise PublishError(
            f"a state on {channel!r} has {size} bytes, more than {MAX_STATE_BYTES}; keep it small, everybody "
            "in the room gets it",
            channel=channel,
            code="too_large",
            reason=f"{size} bytes are more than {MAX_STATE_BYTES}",
        )


def not_joined(channel: str) -> PublishError:
    """Return the error of one who says its state and is no member."""
    return PublishError(f"not a member of {channel!r}", channel=channel, code="not_joined", reason="join first")


class _Names:
    """What the members of a room are called: by their connection.

    To the core a member is a connection. At Ably one connection can enter several clients, as servers do: those after
    the first have names of their own.
    """

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()

    def entry(self, member: Member) -> PresenceEntry | None:
        """Return a member that is there, or None if it says nothing that is a state. Anybody can say anything."""
        data = member.data
        if not isinstance(data, dict) or not member.connection_id:
            return None
        key = member.connection_id, member.client_id
        name = self._names.get(key)
        if name is None:
            name = member.connection_id if member.connection_id not in self._taken else ":".join(key)
            self._names[key] = name
            self._taken.add(name)
        return PresenceEntry(name, user_of(member.client_id) or None, cast("dict[str, Any]", data))

    def left(self, member: Member) -> str | None:
        """Return the name of a member that is there no more, or None if it had none."""
        name = self._names.pop((member.connection_id, member.client_id), None)
        self._taken.discard(name or "")
        return name
