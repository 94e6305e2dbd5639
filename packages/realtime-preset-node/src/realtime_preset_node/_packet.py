"""What goes to a client in one piece: one WebSocket message, made once for however many readers it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ._frames import SEPARATOR

__all__ = ["BATCH_BYTES", "Packet", "join_packets"]

BATCH_BYTES: Final = 262_144
"""Frames are joined up to this size; one larger frame goes alone."""

_FINAL_TEXT: Final = 0x81
"""First byte of an unfragmented text frame without extensions (RFC 6455, 5.2)."""


class Packet:
    """One or more frames of the protocol, joined into one text.

    Attributes:
        text: the frames, with the separator between them.
        size: of `text` in UTF-8 bytes.
        wire: the WebSocket frame of a server that carries the text: unmasked, uncompressed. Made when it is first read.
    """

    __slots__ = ("size", "text", "wire")

    wire: bytes

    def __init__(self, text: str, size: int | None = None) -> None:
        self.text = text
        self.size = size if size is not None else len(text) if text.isascii() else len(text.encode())

    def __getattr__(self, name: str) -> bytes:
        # Asked only for what is not set: every further reader gets the attribute, without a call.
        if name != "wire":
            raise AttributeError(name)
        self.wire = _server_header(self.size) + self.text.encode()
        return self.wire


def _server_header(size: int) -> bytes:
    if size < 126:
        return bytes((_FINAL_TEXT, size))
    if size < 65_536:
        return bytes((_FINAL_TEXT, 126)) + size.to_bytes(2, "big")
    return bytes((_FINAL_TEXT, 127)) + size.to_bytes(8, "big")


def join_packets(packets: Sequence[Packet]) -> Sequence[Packet]:
    """Return the same frames in fewer packets, each at most `BATCH_BYTES` long where it holds more than one frame."""
    if len(packets) < 2:
        return packets
    total = sum([packet.size for packet in packets]) + len(SEPARATOR) * (len(packets) - 1)
    if total <= BATCH_BYTES:
        return [Packet(SEPARATOR.join([packet.text for packet in packets]), total)]
    joined: list[Packet] = []
    texts: list[str] = []
    size = 0
    single: Packet | None = None
    for packet in packets:
        if texts and size + len(SEPARATOR) + packet.size > BATCH_BYTES:
            joined.append(single or Packet(SEPARATOR.join(texts), size))
            texts, size = [], 0
        single = None if texts else packet
        size += packet.size + (len(SEPARATOR) if texts else 0)
        texts.append(packet.text)
    if texts:
        joined.append(single or Packet(SEPARATOR.join(texts), size))
    return joined
