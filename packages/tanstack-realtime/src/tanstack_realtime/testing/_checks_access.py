"""Checks of who may do what: denial, failure, revocation, expiry, names that must be refused."""

from __future__ import annotations

import math

from tanstack_realtime._errors import ChannelDeniedError, RealtimeError
from tanstack_realtime._keys import Channel
from tanstack_realtime.server import Permissions

from ._conformance import Kit, check, must
from ._recorder import RecordingListener

__all__: list[str] = []


@check("X7", "S15")
async def a_denied_subscribe_is_reported_once(kit: Kit) -> None:
    """A denied subscribe is told once, with channel and reason; it delivers nothing and harms no other channel."""
    closed, open_ = kit.channel(), kit.channel()
    kit.refuse("ann", closed, "subscribe")
    ann = await kit.client("ann")
    listener = RecordingListener()
    subscription = ann.subscribe(closed, listener)
    _, on_open = await kit.listen(ann, open_)
    error = await kit.refused(subscription.live(), "a subscribe that authorize refuses", ChannelDeniedError)
    must(error.channel == closed.raw, f"the denial names {error.channel!r}")
    must(error.reason, "the denial has no reason")
    must(not error.retryable, "the denial asks to be tried again")
    await kit.provider.publish(closed, "secret")
    await kit.provider.publish(open_, 1)
    await kit.until(lambda: on_open.data, "the other channel works")
    await kit.quiet()
    must(listener.data == [], f"a denied channel delivered {listener.data}")
    must(len(listener.heard("denied")) == 1, f"told {listener.events}")
    must(not on_open.heard("denied"), "another channel was told of the denial")


@check("X7", "S18", needs=["cut"])
async def a_denial_holds_across_reconnects_until_it_is_lifted(kit: Kit) -> None:
    """After a reconnect a denied channel is still silent; `retry` after a grant makes it live."""
    closed, open_ = kit.channel(), kit.channel()
    kit.refuse("ann", closed, "subscribe")
    ann = await kit.client("ann")
    listener = RecordingListener()
    subscription = ann.subscribe(closed, listener)
    _, on_open = await kit.listen(ann, open_)
    await kit.until(lambda: listener.heard("denied"), "the denial is told")
    await kit.provider.cut(kit.user("ann"))
    await kit.live_again(on_open)
    await kit.provider.publish(closed, "secret")
    await kit.quiet()
    must(listener.data == [], f"a denied channel delivered {listener.data}")
    kit.denied.clear()
    subscription.retry()
    await kit.soon(subscription.live(), "the channel becomes live after a grant")
    await kit.provider.publish(closed, 1)
    await kit.heard(listener, 1, "a message arrives")
    must(listener.data == [1], f"heard {listener.data}")


@check("X7", "P3")
async def a_denied_publish_raises(kit: Kit) -> None:
    """A denied publish raises and reaches nobody."""
    channel = kit.channel()
    kit.refuse("ann", channel, "publish")
    ann, bob = await kit.client("ann"), await kit.client("bob")
    _, listener = await kit.listen(bob, channel)
    error = await kit.refused(ann.publish(channel, "forged"), "a publish that authorize refuses", ChannelDeniedError)
    must(not error.retryable, "the denial asks to be tried again")
    await kit.quiet()
    must(listener.data == [], f"a denied publish was delivered: {listener.data}")


@check("S17", "V5")
async def a_failing_authorize_is_a_temporary_error(kit: Kit) -> None:
    """While `authorize` fails nothing is granted and nothing is final; once it works, the channel becomes live."""
    channel = kit.channel()
    ann = await kit.client("ann")

    def fails(_user_id: str, _channel: Channel) -> Permissions:
        raise ValueError("the database is away")

    kit.decide = fails
    listener = RecordingListener()
    subscription = ann.subscribe(channel, listener)
    await kit.until(lambda: subscription.error is not None, "the failure is told")
    must(subscription.state == "pending", f"a failing authorize made the subscription {subscription.state}")
    error = await kit.refused(ann.publish(channel, 1), "a publish that authorize fails on", RealtimeError)
    must(error.retryable, "a failing authorize made a publish fail for good")
    kit.decide = None
    await kit.soon(subscription.live(), "the channel becomes live once authorize works", within=60.0)
    await kit.provider.publish(channel, 2)
    await kit.heard(listener, 1, "a message arrives")
    must(listener.data == [2], f"heard {listener.data}")


@check("S20", "A5", proves=("revocation_delay",))
async def a_revoked_channel_ends(kit: Kit) -> None:
    """A revoked channel is told as denied within the declared delay, and delivers nothing more."""
    delay = kit.capabilities.revocation_delay
    kit.claims(math.isfinite(delay), "revocation is not claimed")
    channel, other = kit.channel(), kit.channel()
    ann, bob = await kit.client("ann"), await kit.client("bob")
    _, listener = await kit.listen(ann, channel)
    _, on_other = await kit.listen(ann, other)
    _, to_bob = await kit.listen(bob, channel)
    kit.refuse("ann", channel, "subscribe")
    await kit.provider.revoke(kit.user("ann"), channel)
    await kit.until(lambda: listener.heard("denied"), "the revocation is told", within=delay + 10 * kit.provider.quiet)
    await kit.provider.publish(channel, "secret")
    await kit.provider.publish(other, 1)
    await kit.until(lambda: to_bob.data and on_other.data, "others are not touched")
    await kit.quiet()
    must(listener.data == [], f"a revoked channel delivered {listener.data}")


@check("A5", proves=("revocation_delay",))
async def an_expired_grant_ends(kit: Kit) -> None:
    """A grant that has expired is asked for again: one that still holds goes on, one that does not ends."""
    delay = kit.capabilities.revocation_delay
    kit.claims(math.isfinite(delay), "revocation is not claimed, nor is the end of a grant")
    lasting, ending = kit.channel(), kit.channel()
    member = True

    def decide(user_id: str, channel: Channel) -> Permissions:
        return Permissions(subscribe=channel == lasting or member, expires_in=1.0)

    kit.decide = decide
    ann = await kit.client("ann")
    _, on_lasting = await kit.listen(ann, lasting)
    _, on_ending = await kit.listen(ann, ending)
    member = False
    within = 1.0 + delay + max(5.0, 10 * kit.provider.quiet)
    await kit.until(lambda: on_ending.heard("denied"), "the end of the grant is told", within=within)
    await kit.provider.publish(ending, "secret")
    await kit.provider.publish(lasting, 1)
    await kit.until(lambda: on_lasting.data, "the grant that holds goes on")
    await kit.quiet()
    must(on_ending.data == [], f"an expired grant delivered {on_ending.data}")


@check("A9", "A11", "S14")
async def names_that_are_not_channels_are_refused(kit: Kit) -> None:
    """What is not canonical, or reserved, is refused with an error; the connection goes on."""
    channel = kit.channel()
    link, sink = await kit.link("ann")
    for name in ("", "a:b=%zz", "a:b=1&b=2", "a:=1", "a:b=1&a=2", "$presence:n=1", "a b", "a:b=%41"):
        await kit.refused(link.subscribe(name, since=None), f"a subscribe to {name!r}", ChannelDeniedError)
        await kit.refused(link.publish(name, 1), f"a publish to {name!r}", RealtimeError)
    must(sink.ends == [], f"the connection was lost: {sink.ends}")
    await kit.soon(link.subscribe(channel.raw, since=None), "a subscribe is answered")
    await kit.provider.publish(channel, 1)
    await kit.until(lambda: sink.data, "a message arrives")


@check("S19", "V6")
async def grants_are_one_users(kit: Kit) -> None:
    """What one user may do, another one may not, on the same channel at the same time."""
    channel = kit.channel()
    kit.refuse("bob", channel, "subscribe")
    kit.refuse("bob", channel, "publish")
    ann, bob = await kit.client("ann"), await kit.client("bob")
    _, to_ann = await kit.listen(ann, channel)
    to_bob = RecordingListener()
    bob.subscribe(channel, to_bob)
    await ann.publish(channel, 1)
    await kit.until(lambda: to_ann.data and to_bob.heard("denied"), "both are answered")
    await kit.quiet()
    must((to_ann.data, to_bob.data) == ([1], []), f"heard {to_ann.data} and {to_bob.data}")
    found = to_ann.inbound[0].user_id
    must(found in (None, kit.user("ann")), f"the message says that it is from {found!r}")
