"""Messages out of a client's WebSocket bytes, quickly for the frames that nearly all are.

Those are whole text messages in one frame, masked and not compressed. What is anything else, or wrong, is left as it is
for a complete implementation of RFC 6455 (5.2): control frames, fragments, compression, binary messages, text that is
not UTF-8. No I/O.
"""

from __future__ import annotations

from typing import Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # a build without the C extension
    from websockets.utils import apply_mask

__all__ = ["FrameSplitter"]

_WHOLE_TEXT: Final = 0x81
_MASKED: Final = 0x80
_LAST: Final = 0x80
_CONTROL: Final = 0x08


class FrameSplitter:
    """Takes the bytes after the handshake, cut anywhere.

    Args:
        max_size: largest payload in bytes. From a frame on that is larger, nothing is split any more.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._rest = bytearray()
        """The beginning of a frame."""
        self._needed = 0
        """So many bytes it must have, at least, to be looked at."""
        self._in_fragments = False
        self._done = False

    def split(self, data: bytes) -> list[str | bytes]:
        """Return what is complete: the text of a plain message, or the bytes of another whole frame."""
        if self._done:
            return [data]
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        parts: list[str | bytes] = []
        start, length, needed = 0, len(data), 2
        while start + needed <= length:
            first, second = data[start], data[start + 1]
            begin, size = start + 2, second & 0x7F
            if size >= 126:
                begin += 2 if size == 126 else 8
                if begin > length:
                    needed = begin - start
                    break
                size = int.from_bytes(data[start + 2 : begin], "big")
            if size > self._max_size:
                self._done = True
                parts.append(data[start:])
                return parts
            if second & _MASKED:
                begin += 4
            end = begin + size
            if end > length:
                needed = end - start
                break
            if first == _WHOLE_TEXT and second & _MASKED and not self._in_fragments:
                try:
                    parts.append(apply_mask(data[begin:end], data[begin - 4 : begin]).decode())
                except UnicodeDecodeError:
                    parts.append(data[start:end])
            else:
                if not first & _CONTROL:
                    self._in_fragments = not first & _LAST
                parts.append(data[start:end])
            start = end
        self._rest += data[start:]
        self._needed = needed
        return parts
