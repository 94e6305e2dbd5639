"""What happens to a channel's messages that a slow reader has not taken: policies, and the queue that carries them out.

The default needs no queue: the connection is closed, and the client comes back and is told what it missed. For channels
where only the present counts that is too much. Their messages wait here while the reader lags, and the queue forgets
what the policy calls superfluous:

* `DropOldest` keeps the newest messages. The reader is told that there is a gap.
* `LatestPerKey` keeps the newest message of each key. Nothing is missing then: each message says how many before it
  were superseded, so that the reader does not take the hole in the numbers for a loss.

No I/O and no clock. Messages go in in the order of their numbers, without holes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from tanstack_realtime import ConfigurationError, RealtimeError, parse_channel

from ._message import Numbered, write_messages
from ._packet import Packet
from ._protocol import gap_frame

__all__ = ["DropOldest", "LagQueue", "LatestPerKey", "SlowReader", "SlowReaders", "message_key"]


def message_key(data: Any) -> Hashable:
    """Return what a message of a collection is about: its member ``key``; None where it has none."""
    return cast("Mapping[str, Hashable]", data).get("key") if isinstance(data, Mapping) else None


def _check_count(name: str, count: object) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ConfigurationError(f"{name}={count!r}: pass a positive int")


@dataclass(frozen=True, slots=True, kw_only=True)
class DropOldest:
    """Keep the newest messages for a slow reader and tell it that older ones are missing.

    For events that are worth nothing later, such as a ticker.

    Attributes:
        messages: how many are kept.
    """

    messages: int = 100

    def __post_init__(self) -> None:
        _check_count("DropOldest(messages)", self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestPerKey:
    """Keep the newest message of each key for a slow reader.

    For messages that each tell the whole state of something, such as a cursor or a whole row. A message that tells only
    what changed must not be superseded: give it no key.

    Attributes:
        key: what a message is about, as a hashable value; None for a message that nothing supersedes. Default:
            `message_key`.
        keys: how many messages are kept; above it the oldest is dropped and the reader is told that there is a gap.
    """

    key: Callable[[Any], Hashable] = message_key
    keys: int = 1_000

    def __post_init__(self) -> None:
        _check_count("LatestPerKey(keys)", self.keys)


SlowReader: TypeAlias = Literal["disconnect"] | DropOldest | LatestPerKey
"""What happens to a channel's messages that a slow reader has not taken."""


class SlowReaders:
    """The policies by namespace.

    Args:
        policies: by namespace; every other one has ``"disconnect"``.
        report: takes what a `LatestPerKey.key` raises.

    Raises:
        ConfigurationError: not a policy.
    """

    def __init__(self, policies: Mapping[str, SlowReader], report: Callable[[RealtimeError], None]) -> None:
        for namespace, policy in cast("Mapping[object, object]", policies).items():
            if not isinstance(namespace, str) or not (
                policy == "disconnect" or isinstance(policy, DropOldest | LatestPerKey)
            ):
                raise ConfigurationError(
                    f"slow_readers={{{namespace!r}: {policy!r}}}: pass namespaces with 'disconnect', DropOldest() or "
                    "LatestPerKey()"
                )
        self._policies = dict(policies)
        self._report = report

    def of(self, channel: str) -> DropOldest | LatestPerKey | None:
        """Return the policy of a channel, None for ``"disconnect"``."""
        policy = self._policies.get(parse_channel(channel).namespace) if self._policies else None
        return policy if isinstance(policy, DropOldest | LatestPerKey) else None

    def key(self, policy: DropOldest | LatestPerKey, channel: str, data: Any) -> Hashable:
        """Return what a message is about, None where it cannot be told."""
        if isinstance(policy, DropOldest):
            return None
        try:
            key = policy.key(data)
            hash(key)
        except Exception as error:  # noqa: BLE001 -- the application's function must not cost anybody a message
            failure = RealtimeError(
                f"the key function of LatestPerKey for {channel!r} failed: {error!r}; the message supersedes nothing",
                channel=channel,
                code="key_failed",
            )
            failure.__cause__ = error
            self._report(failure)
            return None
        return key


class LagQueue:
    """A channel's messages that one reader has not taken yet.

    Args:
        channel: wire string.
        policy: what may be forgotten.
    """

    def __init__(self, channel: str, policy: DropOldest | LatestPerKey) -> None:
        self.size = 0
        """Bytes that wait."""
        self._channel = channel
        self._room = policy.messages if isinstance(policy, DropOldest) else policy.keys
        self._waiting: OrderedDict[Hashable, Numbered] = OrderedDict()
        self._before: int | None = None
        self.lost = 0
        """How many messages were dropped that nothing supersedes."""

    def push(self, message: Numbered) -> None:
        """Take a message, and forget what the policy allows."""
        if self._before is None:
            self._before = message.offset - 1
        # A message without a key is about itself alone.
        key = ("", message.offset) if message.key is None else ("key", message.key)
        former = self._waiting.pop(key, None)
        if former is not None:
            self.size -= former.size
        self._waiting[key] = message
        self.size += message.size
        if len(self._waiting) > self._room:
            _, oldest = self._waiting.popitem(last=False)
            self.size -= oldest.size
            self.lost += 1

    def drain(self) -> Sequence[Packet]:
        """Return what is to be sent, and be empty."""
        after = self._before
        packets: list[Packet] = []
        if self.lost:
            packets.append(Packet(gap_frame(self._channel, "lagged", self.lost)))
            after = None
        packets.extend(write_messages(self._channel, self._waiting.values(), after=after))
        self._waiting.clear()
        self._before, self.lost, self.size = None, 0, 0
        return packets
