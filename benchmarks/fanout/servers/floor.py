"""The floor: an asyncio loop that relays one text frame to every subscriber and does nothing else.

A WebSocket handshake by hand, no JSON, no library. Frames that arrive in one turn of the loop are joined, so that each
subscriber costs one `transport.write` per turn. The first message of a connection tells what it is: ``subscribe`` or
``publish``; both are answered with ``ready``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
from typing import cast

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(payload: bytes) -> bytes:
    """Return a server's text frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    return bytes((0x81, 126)) + size.to_bytes(2, "big") + payload


class Relay:
    """Everybody's subscribers."""

    def __init__(self) -> None:
        self.subscribers: list[asyncio.Transport] = []
        self.pending: list[bytes] = []

    def publish(self, payload: bytes) -> None:
        """Relay at the end of the turn."""
        if not self.pending:
            asyncio.get_running_loop().call_soon(self.flush)
        self.pending.append(frame(payload))

    def flush(self) -> None:
        """Write everything that is pending to every subscriber."""
        data = b"".join(self.pending)
        self.pending.clear()
        for transport in self.subscribers:
            transport.write(data)


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.buffer = b""
        self.open = False
        self.known = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take the handshake, then small masked frames."""
        self.buffer += data
        if not self.open:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            key = next(
                line[18:].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
            )
            accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            self.open, self.buffer = True, rest
        start, buffer = 0, self.buffer
        while len(buffer) - start >= 2:
            size, head_size = buffer[start + 1] & 127, 6
            if size == 126:
                size, head_size = int.from_bytes(buffer[start + 2 : start + 4], "big"), 8
            end = start + head_size + size
            if len(buffer) < end:
                break
            mask = buffer[start + head_size - 4 : start + head_size]
            payload = buffer[start + head_size : end]
            self.message(payload if mask == bytes(4) else bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))
            start = end
        self.buffer = buffer[start:]

    def message(self, payload: bytes) -> None:
        """Take one message."""
        if self.known:
            self.relay.publish(payload)
            return
        self.known = True
        if payload == b"subscribe":
            self.relay.subscribers.append(self.transport)
        self.transport.write(frame(b"ready"))


async def main(port: int) -> None:
    """Serve until killed."""
    relay = Relay()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(relay), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
