"""Checks of what arrives where: subscribe, publish, echo, order."""

from __future__ import annotations

import asyncio
from typing import Any

from tanstack_realtime._errors import NotConnectedError, PublishError, RealtimeError
from tanstack_realtime._json import encode_json

from ._conformance import Kit, check, must
from ._recorder import RecordingListener

__all__: list[str] = []


@check("X2", "S19", "P4")
async def delivers_to_the_exact_channel(kit: Kit) -> None:
    """A message arrives unchanged on its channel, and on no other."""
    here, there = kit.channel(), kit.channel()
    ann, bob = await kit.client("ann"), await kit.client("bob")
    _, on_here = await kit.listen(bob, here)
    _, on_there = await kit.listen(bob, there)
    await ann.publish(here, {"text": "hello"})
    await kit.until(lambda: on_here.data, "what ann publishes reaches bob")
    await kit.quiet()
    must(on_here.data == [{"text": "hello"}], f"bob heard {on_here.data}")
    must(on_there.data == [], f"another channel got {on_there.data}")


@check("X6", "P8", proves=("max_message_bytes", "ordering"))
async def payloads_round_trip(kit: Kit) -> None:
    """Unicode, large, empty and nested payloads come out equal, in order, once."""
    channel = kit.channel()
    ann, bob = await kit.client("ann"), await kit.client("bob")
    _, listener = await kit.listen(bob, channel)
    large = "ü" * (kit.capabilities.max_message_bytes // 2 - 10)
    payloads: list[Any] = [
        *({"text": 'Grüße, 世界 🎉\n\t"\\\u2028'}, {}, [], "", 0, False, None, -1.5, 2**53 - 1, "line\nbreak"),
        *({"": [[[{"deep": [None, {"a": {}}]}]]]}, [1, "1", True, None], large),
    ]
    for payload in payloads:
        await ann.publish(channel, payload)
    await kit.until(lambda: len(listener.data) >= len(payloads), "every payload arrives")
    await kit.quiet()
    expected = [encode_json(payload) for payload in payloads]
    arrived = [encode_json(data) for data in listener.data]
    right = arrived == expected if kit.capabilities.ordering else sorted(arrived) == sorted(expected)
    must(right, f"heard {[text[:40] for text in arrived]}")


@check("X6", "V1", proves=("ordering",))
async def a_burst_keeps_its_order(kit: Kit) -> None:
    """A burst arrives complete, once, and in order where that is claimed."""
    channel = kit.channel()
    ann, bob = await kit.client("ann"), await kit.client("bob")
    _, listener = await kit.listen(bob, channel)
    for number in range(100):
        await ann.publish(channel, number)
    await kit.until(lambda: len(listener.data) >= 100, "the whole burst arrives")
    await kit.quiet()
    arrived = listener.data if kit.capabilities.ordering else sorted(listener.data)
    must(arrived == list(range(100)), f"heard {listener.data}")


@check("Q2", "S3", "S21")
async def live_means_that_messages_arrive(kit: Kit) -> None:
    """From the acknowledgement on every message arrives."""
    ann = await kit.client("ann")
    for _ in range(10):
        channel = kit.channel()
        _, listener = await kit.listen(ann, channel)
        await kit.provider.publish(channel, "at once")
        await kit.heard(listener, 1, "a message sent right after the acknowledgement arrives")
        must(listener.data == ["at once"], f"heard {listener.data}")


@check("S1")
async def subscriptions_wait_for_the_connection(kit: Kit) -> None:
    """A subscription made before `connect` is live after it."""
    channel, listener = kit.channel(), RecordingListener()
    ann = kit.new_client("ann")
    subscription = ann.subscribe(channel, listener)
    await kit.quiet()
    must(subscription.state == "pending", f"without a connection the subscription is {subscription.state}")
    ann.connect()
    await kit.soon(subscription.live(), "the subscription becomes live")
    await kit.provider.publish(channel, 1)
    await kit.heard(listener, 1, "a message arrives")
    must(listener.events[0] == ("live", None), f"heard {listener.events}")


@check("X3", "S4")
async def after_unsubscribe_nothing_arrives(kit: Kit) -> None:
    """Two listeners are one subscription; the last one that leaves ends it."""
    channel = kit.channel()
    ann = await kit.client("ann")
    first, to_first = await kit.listen(ann, channel)
    second, to_second = await kit.listen(ann, channel)
    await kit.provider.publish(channel, 1)
    await kit.until(lambda: to_first.data and to_second.data, "both listeners hear")
    first.unsubscribe()
    await kit.provider.publish(channel, 2)
    await kit.until(lambda: len(to_second.data) == 2, "the other listener still hears")
    second.unsubscribe()
    await kit.quiet()
    await kit.provider.publish(channel, 3)
    await kit.quiet()
    must((to_first.data, to_second.data) == ([1], [1, 2]), f"heard {to_first.data} and {to_second.data}")


@check("X3")
async def an_unsubscribed_link_is_silent(kit: Kit) -> None:
    """After the provider has answered an unsubscribe, the link itself hears nothing more."""
    channel = kit.channel()
    link, sink = await kit.link("ann")
    await kit.soon(link.subscribe(channel.raw, since=None), "a subscribe is answered")
    await kit.provider.publish(channel, 1)
    await kit.until(lambda: sink.data, "a message arrives")
    await kit.soon(link.unsubscribe(channel.raw), "an unsubscribe is answered")
    await kit.soon(link.unsubscribe(channel.raw), "a second unsubscribe is answered")
    await kit.provider.publish(channel, 2)
    await kit.quiet()
    must(sink.data == [1], f"heard {sink.data}")


@check("S9", "S7")
async def the_last_intent_wins(kit: Kit) -> None:
    """Subscribe, unsubscribe, subscribe without a pause ends subscribed, once."""
    channel, listener = kit.channel(), RecordingListener()
    ann = await kit.client("ann")
    for _ in range(5):
        ann.subscribe(channel, RecordingListener()).unsubscribe()
    for _ in range(5):
        passing, _ = await kit.listen(ann, channel)
        passing.unsubscribe()
    subscription = ann.subscribe(channel, listener)
    await kit.soon(subscription.live(), "the last subscription becomes live")
    await kit.quiet()
    await kit.provider.publish(channel, 1)
    await kit.heard(listener, 1, "a message arrives")
    await kit.quiet()
    must(listener.data == [1], f"heard {listener.data}")


@check("P5", "S6", proves=("echo",))
async def the_echo_comes_once_and_is_marked(kit: Kit) -> None:
    """A publisher hears itself once, marked as its own; nobody else's copy is marked."""
    channel = kit.channel()
    ann, tab, bob = await kit.client("ann"), await kit.client("ann"), await kit.client("bob")
    heard = [(await kit.listen(client, channel))[1] for client in (ann, tab, bob)]
    await ann.publish(channel, 1)
    await kit.until(lambda: all(listener.data for listener in heard), "everybody hears")
    await kit.quiet()
    must([listener.data for listener in heard] == [[1]] * 3, f"heard {[listener.data for listener in heard]}")
    marks = [listener.inbound[0].own for listener in heard]
    must(marks[0] is True, f"the publisher's copy is marked {marks[0]}")
    must(True not in marks[1:], f"a copy of somebody else is marked as its own: {marks}")
    await kit.provider.publish(channel, 2)
    await kit.until(lambda: all(len(listener.data) == 2 for listener in heard), "everybody hears the server")
    must(True not in [listener.inbound[1].own for listener in heard], "a server's message is marked as own")


@check("P5", proves=("echo",))
async def the_link_echoes_as_claimed(kit: Kit) -> None:
    """Without a client in between, the echo comes exactly where the capability says so."""
    channel = kit.channel()
    link, sink = await kit.link("ann")
    await kit.soon(link.subscribe(channel.raw, since=None), "a subscribe is answered")
    await kit.soon(link.publish(channel.raw, "me"), "a publish is answered")
    await kit.quiet()
    expected = [("me", True)] if kit.capabilities.echo else []
    found = [(message.data, message.own) for _, message in sink.messages]
    must(found == expected, f"capabilities say echo={kit.capabilities.echo}; the link heard {found}")


@check("P6")
async def publishing_needs_no_subscription(kit: Kit) -> None:
    """Who may publish need not subscribe, nor be allowed to."""
    channel = kit.channel()
    kit.refuse("ann", channel, "subscribe")
    ann, bob = await kit.client("ann"), await kit.client("bob")
    _, listener = await kit.listen(bob, channel)
    await ann.publish(channel, 1)
    await kit.heard(listener, 1, "the message arrives")


@check("P1")
async def publishing_without_a_connection_raises(kit: Kit) -> None:
    """A publish that cannot be sent is not dropped silently."""
    ann = kit.new_client("ann")
    await kit.refused(ann.publish(kit.channel(), 1), "a publish without a connection", NotConnectedError)


@check("A2", "A17", proves=("max_message_bytes",))
async def what_is_too_large_is_refused(kit: Kit) -> None:
    """A payload above the limit is refused with an error; the connection goes on."""
    channel = kit.channel()
    ann = await kit.client("ann")
    _, listener = await kit.listen(ann, channel)
    large = "x" * (kit.capabilities.max_message_bytes + 1)
    await kit.refused(ann.publish(channel, large), "a payload above max_message_bytes", PublishError)
    await ann.publish(channel, "after")
    await kit.heard(listener, 1, "the next message arrives")
    must(listener.data == ["after"], f"heard {[str(data)[:20] for data in listener.data]}")
    must(("offline", None) not in listener.events, "the connection was lost")


@check("K1", "K2", "K5")
async def every_canonical_channel_works(kit: Kit) -> None:
    """Reserved characters, Unicode and the greatest length are part of a name like any other."""
    ann = await kit.client("ann")
    run = kit.channel().params["run"]
    filler = "x" * 240
    awkward = [
        ("chat:typing", {"run": run}),
        ("a b", {"run": run, "näme": "wért & = , : % ~ / ? #"}),
        ("long", {"run": run, "z": filler[: 240 - len(f"long:run={run}&z=")]}),
    ]
    heard: list[RecordingListener] = []
    for name in awkward:
        listener = RecordingListener()
        await kit.soon(ann.subscribe(name, listener).live(), f"{name[0]!r} becomes live")
        heard.append(listener)
    for name in awkward:
        await ann.publish(name, name[0])
    await kit.until(lambda: all(listener.data for listener in heard), "each channel gets its message")
    await kit.quiet()
    arrived = [listener.data for listener in heard]
    must(arrived == [[name[0]] for name in awkward], f"heard {arrived}")


@check("A1", "P3", needs=["http"], proves=("publish_over_link",))
async def the_publish_route_works_and_asks_authorize(kit: Kit) -> None:
    """The HTTP route delivers what is granted, and refuses what is not."""
    channel, closed = kit.channel(), kit.channel()
    kit.refuse("ann", closed, "publish")
    ann, bob = await kit.client("ann"), await kit.client("bob")
    _, listener = await kit.listen(bob, channel)
    _, on_closed = await kit.listen(bob, closed)
    await ann.publish_via_http(channel, {"over": "http"})
    await kit.heard(listener, 1, "the message arrives")
    await kit.refused(ann.publish_via_http(closed, 1), "an HTTP publish that authorize refuses", RealtimeError)
    await kit.quiet()
    must(listener.data == [{"over": "http"}], f"heard {listener.data}")
    must(on_closed.data == [], f"a refused publish was delivered: {on_closed.data}")


@check("S12", "S13")
async def listeners_may_fail_and_change_subscriptions(kit: Kit) -> None:
    """A listener that raises, leaves or subscribes while it is called disturbs nobody."""
    channel, other = kit.channel(), kit.channel()
    ann = await kit.client("ann")
    late = RecordingListener()

    def fails(_: object) -> None:
        ann.subscribe(other, late)
        subscription.unsubscribe()
        raise ValueError("a listener's bug")

    subscription = ann.subscribe(channel, fails)
    _, listener = await kit.listen(ann, channel)
    await kit.provider.publish(channel, 1)
    await kit.provider.publish(channel, 2)
    await kit.until(lambda: len(listener.data) == 2, "the other listener hears everything")
    await kit.until(lambda: ("live", None) in late.events, "a subscription made by a listener becomes live")
    must([str(error) for error in kit.errors] == ["a listener's bug"], f"reported {kit.errors}")


@check("V1")
async def requests_are_answered_in_order(kit: Kit) -> None:
    """Concurrent requests on one link are all answered, and what was published last arrives last."""
    channels = [kit.channel() for _ in range(5)]
    link, sink = await kit.link("ann")
    subscribes = [link.subscribe(channel.raw, since=None) for channel in channels]
    publishes = [link.publish(channel.raw, number) for number, channel in enumerate(channels)]
    await kit.soon(asyncio.gather(*subscribes), "all subscribes are answered")
    await kit.soon(asyncio.gather(*publishes), "all publishes are answered")
    await kit.provider.publish(channels[-1], "last")
    await kit.until(lambda: "last" in sink.data, "the last message arrives")
