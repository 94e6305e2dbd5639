"""Checks of presence: who sees whom, with which state, and for how long."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from tanstack_realtime._errors import ChannelDeniedError
from tanstack_realtime._presence_channel import Presence, PresenceScope

from ._conformance import Kit, check, must

if TYPE_CHECKING:
    from tanstack_realtime._client import RealtimeClient
    from tanstack_realtime._keys import Channel
    from tanstack_realtime._presence_link import PresenceCapabilities

__all__: list[str] = []

Room: TypeAlias = Presence[dict[str, Any]]


def _claimed(kit: Kit) -> PresenceCapabilities:
    claimed = kit.capabilities.presence
    kit.claims(claimed is not None, "presence is not claimed")
    assert claimed is not None, "claims() raised otherwise"
    return claimed


async def _enter(kit: Kit, client: RealtimeClient, channel: Channel, state: dict[str, Any] | None = None) -> Room:
    scope: PresenceScope[dict[str, Any]] = PresenceScope("conformance", channel, None)
    room = client.presence(scope, initial=state)
    await kit.soon(room.live(), "presence becomes live")
    return room


def _states(room: Room) -> list[dict[str, Any]]:
    return [member.state for member in room.others]


async def _sees(kit: Kit, room: Room, states: list[dict[str, Any]], what: str, *, within: float | None = None) -> None:
    try:
        await kit.until(lambda: _states(room) == states, what, within=within)
    except AssertionError as error:
        raise AssertionError(f"{error}; seen are {_states(room)} instead of {states}") from None


@check("X8", "R5", "R7", "R11", proves=("presence",))
async def members_see_each_other(kit: Kit) -> None:
    """A late joiner sees who is there; join, merged update and leave reach the others, under the server's names."""
    _claimed(kit)
    channel = kit.channel()
    ann, bob = await kit.client("ann"), await kit.client("bob")
    hers = await _enter(kit, ann, channel, {"name": "Ann", "x": 0})
    his = await _enter(kit, bob, channel, {"name": "Bob"})
    await _sees(kit, his, [{"name": "Ann", "x": 0}], "a late joiner sees who is there")
    await _sees(kit, hers, [{"name": "Bob"}], "a join is seen")
    [member] = his.others
    must(member.user_id == kit.user("ann"), f"the member's user is {member.user_id!r}")
    must(member.status == "online", f"a member who is there is {member.status}")
    hers.update(x=7, y=[1, {"ü": None}])
    await _sees(kit, his, [{"name": "Ann", "x": 7, "y": [1, {"ü": None}]}], "an update is seen, merged")
    late = await _enter(kit, await kit.client("bob"), channel)
    expected = [{"name": "Ann", "x": 7, "y": [1, {"ü": None}]}, {"name": "Bob"}]
    await kit.until(
        lambda: sorted(_states(late), key=str) == sorted(expected, key=str), "a late joiner sees the latest states"
    )
    hers.leave()
    await _sees(kit, his, [], "a leave is seen")
    must(_states(hers) == [{"name": "Bob"}], "who left sees the others no longer")


@check("X8", "R6", "R1", proves=("presence",))
async def an_observer_is_not_a_member(kit: Kit) -> None:
    """An observer sees the members and is seen by nobody; nobody sees itself."""
    _claimed(kit)
    channel = kit.channel()
    ann, bob = await kit.client("ann"), await kit.client("bob")
    hers = await _enter(kit, ann, channel, {"name": "Ann"})
    watching = await _enter(kit, bob, channel)
    await _sees(kit, watching, [{"name": "Ann"}], "an observer sees the members")
    await kit.quiet()
    must(_states(hers) == [], f"a member sees {_states(hers)}: itself, or an observer")
    watching.close()
    hers.update(name="Anna")
    await kit.quiet()
    must(watching.others == (), "a closed view shows members")


@check("X2", "S19", "R10", proves=("presence",))
async def rooms_are_apart(kit: Kit) -> None:
    """A member of one channel is not seen in another."""
    _claimed(kit)
    one, two = kit.channel(), kit.channel()
    ann, bob = await kit.client("ann"), await kit.client("bob")
    await _enter(kit, ann, one, {"room": 1})
    other = await _enter(kit, bob, two, {"room": 2})
    same = await _enter(kit, bob, one)
    await _sees(kit, same, [{"room": 1}], "the member of the room is seen")
    await kit.quiet()
    must(_states(other) == [], f"another room shows {_states(other)}")


@check("R15", "T1", proves=("presence",))
async def the_last_of_many_updates_arrives(kit: Kit) -> None:
    """Of a burst of updates the last one arrives."""
    _claimed(kit)
    channel = kit.channel()
    ann, bob = await kit.client("ann"), await kit.client("bob")
    hers = await _enter(kit, ann, channel, {"x": 0})
    his = await _enter(kit, bob, channel)
    for x in range(1, 50):
        hers.update(x=x)
        await asyncio.sleep(0.005)
    await _sees(kit, his, [{"x": 49}], "the last update is seen")


@check("X7", proves=("presence",))
async def denied_presence_is_refused(kit: Kit) -> None:
    """Who may not be present is told so, is not seen, and does not see."""
    _claimed(kit)
    channel = kit.channel()
    kit.refuse("ann", channel, "presence")
    ann, bob = await kit.client("ann"), await kit.client("bob")
    his = await _enter(kit, bob, channel, {"name": "Bob"})
    room = ann.presence(PresenceScope[dict[str, Any]]("conformance", channel, None), initial={"name": "Ann"})
    await kit.refused(room.live(), "a presence that authorize refuses", ChannelDeniedError)
    await kit.quiet()
    must(_states(his) == [], f"a refused member is seen: {_states(his)}")
    must(_states(room) == [], f"a refused member sees {_states(room)}")
    must(room.status == "denied", f"its status is {room.status}")


@check("R9", "S20", proves=("presence", "revocation_delay"))
async def revoked_presence_ends(kit: Kit) -> None:
    """A member whose access is revoked is gone within the declared delay, and is told."""
    _claimed(kit)
    delay = kit.capabilities.revocation_delay
    kit.claims(math.isfinite(delay), "revocation is not claimed")
    channel = kit.channel()
    ann, bob = await kit.client("ann"), await kit.client("bob")
    hers = await _enter(kit, ann, channel, {"name": "Ann"})
    his = await _enter(kit, bob, channel, {"name": "Bob"})
    await _sees(kit, his, [{"name": "Ann"}], "the member is seen")
    kit.refuse("ann", channel, "presence")
    kit.refuse("ann", channel, "subscribe")
    await kit.provider.revoke(kit.user("ann"), channel)
    within = delay + 10 * kit.provider.quiet
    await _sees(kit, his, [], "a revoked member is gone", within=within)
    await kit.until(lambda: hers.status == "denied", "the member is told", within=within)
    must(_states(hers) == [], f"a revoked member sees {_states(hers)}")


@check("R2", proves=("presence",))
async def a_join_before_connect_is_remembered(kit: Kit) -> None:
    """Who joins before there is a connection is a member as soon as there is one."""
    _claimed(kit)
    channel = kit.channel()
    ann, bob = kit.new_client("ann"), await kit.client("bob")
    his = await _enter(kit, bob, channel)
    room = ann.presence(PresenceScope[dict[str, Any]]("conformance", channel, None), initial={"x": 1})
    room.update(x=2)
    ann.connect()
    await _sees(kit, his, [{"x": 2}], "the member is seen")


@check("R3", "R1", "R14", needs=["cut"], proves=("presence",))
async def presence_is_entered_again(kit: Kit) -> None:
    """After a reconnect the client is a member again, once, with its latest merged state, and does not see itself."""
    claimed = _claimed(kit)
    channel = kit.channel()
    ann, bob = await kit.client("ann"), await kit.client("bob")
    hers = await _enter(kit, ann, channel, {"name": "Ann", "x": 0})
    his = await _enter(kit, bob, channel, {"name": "Bob"})
    await _sees(kit, hers, [{"name": "Bob"}], "the other is seen")
    hers.update(x=1)
    await _sees(kit, his, [{"name": "Ann", "x": 1}], "the update is seen")
    before = ann.store.state.connection_id
    await kit.provider.cut(kit.user("ann"))
    await kit.until(lambda: hers.status == "pending", "the cut is noticed", within=kit.provider.detect_within)
    must(all(member.status == "stalled" for member in hers.others), "without a connection members are online")
    hers.update(y=2)
    back: Callable[[], bool] = lambda: ann.store.state.connection_id not in (None, before)  # noqa: E731
    await kit.until(back, "the client is back", within=60.0)
    within = claimed.ghost_timeout + 10 * kit.provider.quiet
    await _sees(kit, his, [{"name": "Ann", "x": 1, "y": 2}], "it is a member again", within=within)
    await _sees(kit, hers, [{"name": "Bob"}], "it sees the others, not itself", within=within)


@check("R4", needs=["half_open"], proves=("presence",))
async def a_member_that_dies_is_gone(kit: Kit) -> None:
    """A member whose connection dies without a word is gone within the declared time."""
    claimed = _claimed(kit)
    channel = kit.channel()
    ann, bob = await kit.client("ann"), await kit.client("bob")
    await _enter(kit, ann, channel, {"name": "Ann"})
    his = await _enter(kit, bob, channel)
    await _sees(kit, his, [{"name": "Ann"}], "the member is seen")
    await kit.provider.half_open(kit.user("ann"))
    ann.disconnect()
    await _sees(kit, his, [], "a dead member is gone", within=claimed.ghost_timeout + 10 * kit.provider.quiet)
