"""Clients in the server's own process: the same gate, without HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from realtime_preset_ably._names import mark_of
from tanstack_realtime import Channel, ChannelDeniedError, ConfigurationError, PublishError
from tanstack_realtime.server import Permissions


def members(user_id: str, channel: Channel) -> Permissions:
    return Permissions(subscribe=user_id == "ann", publish=user_id == "ann")


@pytest.mark.parametrize("user_id", ["", None, 7])
async def test_a_local_client_is_somebody(application: Any, user_id: Any) -> None:
    with pytest.raises(ConfigurationError, match="non-empty"):
        application.realtime.local_transport(user_id=user_id)


async def test_its_collections_publish_as_live_channels_do(application: Any) -> None:
    assert application.realtime.local_transport(user_id="ann").capabilities.publish_over_link


async def test_it_asks_authorize(application: Any) -> None:
    application.decide = members
    grants = [
        await application.realtime.local_transport(user_id=user)._application.grant(["chat:room=1"])
        for user in ("ann", "bob")
    ]

    assert application.asked == [("ann", "chat:room=1"), ("bob", "chat:room=1")]
    assert [grant.granted.keys() for grant in grants] == [{"chat:room=1"}, set()]
    assert [grant.client_id for grant in grants] == ["ann", "bob"]


async def test_it_publishes_no_more_than_ably_takes(application: Any) -> None:
    application.decide = members
    ann = application.realtime.local_transport(user_id="ann")._application
    with pytest.raises(PublishError) as caught:
        await ann.publish("chat:room=1", "x" * 64_000, "c1")
    assert caught.value.code == "too_large"
    assert application.ably.requests == []


async def test_it_publishes_through_the_gate(application: Any) -> None:  # A1
    application.decide = members
    ann, bob = (application.realtime.local_transport(user_id=user)._application for user in ("ann", "bob"))
    with pytest.raises(ChannelDeniedError):
        await bob.publish("chat:room=1", "hi", "c2")
    assert application.ably.requests == []

    await ann.publish("chat:room=1", "hi", "c1")
    [body] = application.ably.bodies
    assert (body["clientId"], body["data"], body["extras"]["headers"]) == ("ann", '"hi"', {"link": mark_of("c1")})
    assert application.realtime.statistics().published == 1
