"""Messages of a channel with their numbers, and the few frames that carry many of them. No I/O and no clock."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ._packet import BATCH_BYTES, Packet, join_packets
from ._protocol import messages_body, messages_frame

__all__ = ["Numbered", "write_bodies", "write_messages"]


@dataclass(slots=True)  # one is made per message, and frozen ones take three times as long
class Numbered:
    """A message of a channel. Nobody changes it.

    Attributes:
        offset: its number.
        text: the payload as JSON.
        size: of `text` in UTF-8 bytes.
        user_id: the authenticated publisher, or None for the server.
        at: when it was published, in seconds on the caller's clock.
        key: what it is about, for `LatestPerKey`; or None.
        own: whether this is for its publisher.
    """

    offset: int
    text: str
    size: int
    user_id: str | None
    at: float
    key: Hashable = None
    own: bool = False


@dataclass(slots=True)
class _Run:
    """Messages that follow each other and have everything in common but the payload."""

    first: Numbered
    superseded: int
    texts: list[str]

    @property
    def body(self) -> str:
        return messages_body(self.first.offset, self.texts, self.first.user_id)


def _runs(messages: Iterable[Numbered], following: int | None) -> Iterator[_Run]:
    """Part messages; `following` is the number that the first one has if nothing before it is superseded."""
    run: _Run | None = None
    texts: list[str] = []
    user_id, own, size, offset = None, False, 0, following
    for message in messages:
        size += message.size + 1
        if (
            texts
            and message.offset == offset
            and message.user_id == user_id
            and message.own is own
            and size <= BATCH_BYTES
        ):
            texts.append(message.text)
        else:
            if run is not None:
                yield run
            user_id, own, size, texts = message.user_id, message.own, message.size, [message.text]
            run = _Run(message, 0 if offset is None else message.offset - offset, texts)
        offset = message.offset + 1
    if run is not None:
        yield run


def write_messages(channel: str, messages: Iterable[Numbered], *, after: int | None = None) -> Sequence[Packet]:
    """Write messages into as few packets as may be, each at most `BATCH_BYTES` long where it holds more than one.

    Args:
        channel: wire string.
        messages: in the order of their numbers. Where there are holes, newer messages supersede what is missing.
        after: number of the message before the first one, where all between are superseded too.
    """
    following = None if after is None else after + 1
    return join_packets(
        [
            Packet(messages_frame(channel, run.body, own=run.first.own, superseded=run.superseded))
            for run in _runs(messages, following)
        ]
    )


def write_bodies(messages: Iterable[Numbered]) -> Sequence[str]:
    """Write the bodies of messages that are replayed."""
    return [run.body for run in _runs(messages, None)]
