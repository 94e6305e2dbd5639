"""What a server holds and for how long. Nothing grows beyond these numbers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds. Times are in milliseconds, sizes in bytes. The defaults are those of Ably where it has one.

    Attributes:
        connections: How many connections there are, those that may still be resumed included.
        channels: How many channels an app has.
        channels_per_connection: How many channels one connection is attached to.
        members: How many presence members a channel has.
        members_bytes_in_all: How many bytes the presence members of all channels of an app hold together.
        message_size: How large one message is, or the messages of one publish together.
        frame_size: How large a WebSocket message of a client is.
        log_window: How long a channel's messages can be replayed.
        log_bytes: How many bytes of messages a channel keeps within that time, 1 KiB for each of them included.
        log_bytes_in_all: How many bytes all channels of an app keep together.
        history_window: How long a channel that persists keeps its messages.
        queue_frames: How many protocol messages wait for one slow reader before its socket is closed.
        queue_bytes: How many bytes do.
        acknowledged: How many publishes of one connection are remembered, to recognise those that are sent again.
        state_ttl: How long a connection can be resumed after its socket was lost.
        max_idle: The longest silence of the server on a socket.
        remain_present: How long members stay present after their socket was lost.
        renewal_margin: How long before the end of a token the client is asked for a new one.
        sync_page: How many presence members one SYNC holds.
    """

    connections: int = 2_000
    channels: int = 10_000
    channels_per_connection: int = 200
    members: int = 200
    members_bytes_in_all: int = 64 * 1024 * 1024
    message_size: int = 65_536
    frame_size: int = 524_288
    log_window: int = 120_000
    log_bytes: int = 16 * 1024 * 1024
    log_bytes_in_all: int = 256 * 1024 * 1024
    history_window: int = 24 * 3_600_000
    queue_frames: int = 50_000
    queue_bytes: int = 16 * 1024 * 1024
    acknowledged: int = 2_000
    state_ttl: int = 120_000
    max_idle: int = 15_000
    remain_present: int = 15_000
    renewal_margin: int = 30_000
    sync_page: int = 100
