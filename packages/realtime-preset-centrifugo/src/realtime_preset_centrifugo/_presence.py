"""Presence of one link, on companion channels.

Centrifugo knows who is subscribed, with the state that each one brought, and tells of joins and leaves. A later state
is a message of its member: whose it is, the server stamps on it, and only messages of members count::

    {"k": "s", "n": 7, "s": {...}}   my state, the seventh; the whole of it
    {"k": "?"}                       I watch, and nobody has heard me come: tell me

The list of members is asked for after every subscribe, and now and then, since joins and leaves are told at most once,
and those of a node that was killed never.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeAlias, cast

from tanstack_realtime import (
    ConnectionLostError,
    PresenceEntry,
    PresenceSink,
    PublishError,
    RealtimeError,
)
from tanstack_realtime._json import encode_json

from ._codes import refusal
from ._names import PRESENCE_PREFIX, user_of
from ._sdk import (
    ClientInfo,
    ErrorEvent,
    MembersResult,
    Publication,
    SdkClient,
    SdkSubscription,
    StateEvent,
    refusal_of,
)
from ._settings import MAX_STATE_BYTES, RECONCILE_INTERVAL, RECONCILE_SPREAD

__all__ = ["Room"]

_TELL_WITHIN: Final = 0.25
"""Seconds within which members tell one who asks, spread at random."""

_TELL_EVERY: Final = 1.0
"""Least seconds between two answers, however many ask."""

_QUESTION: Final[Mapping[str, Any]] = {"k": "?"}

Request: TypeAlias = Callable[[str, str, Coroutine[Any, Any, Any]], Awaitable[Any]]
"""``request(what, channel, command)``: awaits a command of the SDK, and raises what the core knows."""


class Room:
    """One channel's members, as one link knows them.

    Args:
        client: the connection.
        channel: without the prefix.
        sink: is told.
        request: carries out a command.
        spawn: starts a task that the link owns, and returns it.
        ended: forgets this room, which the server ended.

    Attributes:
        joined: whether the link is a member.
    """

    def __init__(
        self,
        client: SdkClient,
        channel: str,
        sink: PresenceSink,
        *,
        request: Request,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        ended: Callable[[Room], object],
    ) -> None:
        self.channel = channel
        self.sink = sink
        self._request = request
        self.joined = False
        self._client = client
        self._spawn = spawn
        self._ended = ended
        self._current: SdkSubscription | None = None
        self._answer: asyncio.Future[None] | None = None
        self._stopped = True
        self._live = False
        self._members: set[str] = set()
        self._since_asked: dict[str, PresenceEntry | None] | None = None
        """Joins, and leaves as None, that came after the members were asked for."""
        self._early: list[Publication] = []
        self._said: dict[str, Any] | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._asked = False

    async def enter(self, state: Mapping[str, Any] | None) -> None:
        """Be a member with this state, or with None only hear of the others; wait for the list of members.

        Raises:
            ChannelDeniedError: refused.
            PublishError: the state is too large.
            ConnectionLostError: the connection went away.
        """
        if state is not None:
            self._check(state)
        await self.stop()
        self._stopped = False
        self.joined = state is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._current = self._client.new_subscription(
            PRESENCE_PREFIX + self.channel, self, data=None if state is None else {"s": dict(state)}
        )
        try:
            await self._current.subscribe()
            await self._answer
        except BaseException:
            await self.stop()
            raise

    async def update(self, state: Mapping[str, Any], clock: int) -> None:
        """Say the own state to everybody.

        Raises:
            PublishError: too large, or no member (``not_joined``).
        """
        self._check(state)
        if not self.joined:
            raise PublishError(
                f"not a member of {self.channel!r}", channel=self.channel, code="not_joined", reason="join first"
            )
        self._said = {"k": "s", "n": clock, "s": dict(state)}
        await self._say(self._said)

    async def stop(self) -> None:
        """Hear nothing more, and be a member no longer. Idempotent."""
        self._stopped = True
        self.joined = self._live = False
        self._said = None
        self._members.clear()
        self._stop_tasks()
        former, self._current = self._current, None
        if former is not None:
            await former.unsubscribe()
            self._client.remove_subscription(former)

    def lost(self, error: ConnectionLostError) -> None:
        """The connection is gone."""
        self._stopped = True
        self._stop_tasks()
        _ = self._fail(error)

    # -- called by the SDK ---------------------------------------------------------------------------------------------

    async def on_subscribing(self, _: StateEvent) -> None:
        """It tries, or tries again."""

    async def on_subscribed(self, _: Any) -> None:
        """The server has said yes, for the first time or again. What happened before is not told."""
        if self._stopped:
            return
        self._stop_tasks()
        self._since_asked = {}
        self._tasks["reconcile"] = self._spawn(self._reconcile(self._said))

    async def on_join(self, event: Any) -> None:
        """A member is new."""
        entry = _entry(event.info)
        if not self._stopped and entry is not None:
            self._note(entry.connection_id, entry)

    async def on_leave(self, event: Any) -> None:
        """A member is gone."""
        if not self._stopped:
            self._note(event.info.client, None)

    async def on_publication(self, event: Any) -> None:
        """A member says its state."""
        if self._stopped:
            return
        if event.pub.data == _QUESTION:
            self._tell()
            return
        if not self._live:
            self._early.append(event.pub)
            return
        entry = self._stated(event.pub)
        if entry is not None:
            self.sink.changed([entry], [])

    async def on_unsubscribed(self, event: StateEvent) -> None:
        """The server has said no, or has ended it."""
        if self._stopped:
            return
        error = refusal("presence", self.channel, event.code, event.reason, temporary=False)
        self._stopped = True
        self.joined = False
        self._stop_tasks()
        self._ended(self)
        if self._current is not None:
            self._client.remove_subscription(self._current)
            self._current = None
        if not self._fail(error):
            self.sink.revoked("denied", event.reason)

    async def on_error(self, event: ErrorEvent) -> None:
        """It failed, and the SDK would try again. Before the answer that is up to whoever asked."""
        answer = refusal_of(event.error)
        if answer is not None:
            _ = self._fail(refusal("presence", self.channel, answer.code, answer.message, temporary=True))
        else:
            _ = self._fail(ConnectionLostError(f"no answer to presence on {self.channel!r}: {event.error!r}"))

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _reconcile(self, said: Mapping[str, Any] | None) -> None:
        while not self._stopped:
            try:
                await self._ask()
                if not self.joined:
                    await self._say(_QUESTION)
                elif said is not None:
                    await self._say(said)  # since this subscribe the others know the state of the join only
                    said = None
            except RealtimeError as error:
                if self._fail(error):
                    return
            # A failure that nobody waits for is healed by the next turn.
            await asyncio.sleep(RECONCILE_INTERVAL + RECONCILE_SPREAD * random.random())  # noqa: S311 -- no secret

    def _tell(self) -> None:
        self._asked = True
        task = self._tasks.get("tell")
        if self._said is not None and (task is None or task.done()):
            self._tasks["tell"] = self._spawn(self._tell_all())

    async def _tell_all(self) -> None:
        while self._asked:
            await asyncio.sleep(_TELL_WITHIN * random.random())  # noqa: S311 -- no secret
            self._asked = False
            with contextlib.suppress(RealtimeError):  # the next state heals it
                if self._said is not None:
                    await self._say(self._said)
            await asyncio.sleep(_TELL_EVERY)

    async def _say(self, message: Mapping[str, Any]) -> None:
        command = self._client.publish(PRESENCE_PREFIX + self.channel, message)
        await self._request("publish", self.channel, command)

    async def _ask(self) -> None:
        self._since_asked = {} if self._since_asked is None else self._since_asked
        command = self._client.presence(PRESENCE_PREFIX + self.channel)
        result: MembersResult = await self._request("presence", self.channel, command)
        since, self._since_asked = self._since_asked or {}, None
        found = {entry.connection_id: entry for entry in map(_entry, result.clients.values()) if entry is not None}
        for connection_id, entry in since.items():
            found.pop(connection_id, None)
            if entry is not None:
                found[connection_id] = entry
        if self._stopped:
            return
        self._members = set(found)
        self._live = True
        self.sink.snapshot(list(found.values()))
        early, self._early = self._early, []
        states = [entry for publication in early if (entry := self._stated(publication)) is not None]
        if states:
            self.sink.changed(states, [])
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    def _note(self, connection_id: str, entry: PresenceEntry | None) -> None:
        if self._since_asked is not None:
            self._since_asked[connection_id] = entry
        if not self._live:
            return
        if entry is None:
            self._members.discard(connection_id)
            self.sink.changed([], [connection_id])
        else:
            self._members.add(connection_id)
            self.sink.changed([entry], [])

    def _stated(self, publication: Publication) -> PresenceEntry | None:
        """Return what a message says, if it is a member's and well formed. Anybody in the room can send anything."""
        info = publication.info
        content: object = publication.data
        if info is None or info.client not in self._members or not isinstance(content, dict):
            return None
        data = cast("dict[str, object]", content)
        clock, state = data.get("n"), data.get("s")
        if data.get("k") != "s" or not isinstance(clock, int) or clock < 1 or not isinstance(state, dict):
            return None
        return PresenceEntry(info.client, user_of(info.user) or None, cast("dict[str, Any]", state), clock)

    def _check(self, state: Mapping[str, Any]) -> None:
        try:
            size = len(encode_json(dict(state)).encode())
        except ValueError as error:
            raise PublishError(f"a state on {self.channel!r} is not JSON: {error}", code="bad_data") from error
        if size > MAX_STATE_BYTES:
            raise PublishError(
                f"a state on {self.channel!r} has {size} bytes, more than {MAX_STATE_BYTES}; keep it small, everybody "
                "in the room gets it",
                channel=self.channel,
                code="too_large",
                reason=f"{size} bytes are more than {MAX_STATE_BYTES}",
            )

    def _stop_tasks(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        self._asked = False
        self._since_asked = None
        self._early.clear()

    def _fail(self, error: Exception) -> bool:
        if self._answer is None or self._answer.done():
            return False
        self._answer.set_exception(error)
        return True


def _entry(info: ClientInfo) -> PresenceEntry | None:
    """Return a member, with the state that the application's server has put down for it."""
    chan_info: object = info.chan_info
    state: object = cast("dict[str, object]", chan_info).get("s") if isinstance(chan_info, dict) else None
    if not isinstance(state, dict):
        return None
    return PresenceEntry(info.client, user_of(info.user) or None, cast("dict[str, Any]", state))
