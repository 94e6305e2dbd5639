"""The real SDK, without a server."""

from __future__ import annotations

import pytest

from realtime_preset_ably._sdk import SdkConnection
from realtime_preset_ably._sdk_channel import SdkError, call
from realtime_preset_ably._timing import AblyTiming

ATTACH, DETACH, PRESENCE = 10, 12, 14


async def renew() -> dict[str, object]:
    raise AssertionError("nobody needs a token")


async def test_a_frame_that_nobody_awaits_fails_in_silence() -> None:
    """The SDK leaves it to a task of its own. The loop would report what that raised, after any lost connection."""
    connection = SdkConnection(
        "127.0.0.1:1",
        tls=False,
        token={"token": "t"},
        renew=renew,
        changed=lambda state, why: None,
        timing=AblyTiming(),
    )
    send = connection._manager.send_protocol_message
    for action in (ATTACH, DETACH):
        await send({"action": action, "channel": "a"})
    with pytest.raises(SdkError, match="Cannot send"):
        await call(send({"action": PRESENCE, "channel": "a"}))
    await connection.close(farewell=False)
