"""Own mutations on the wire: which ids are ours, what waits for them, what came back.

A client hears its own messages. It recognises them by ``origin`` and mutation ``id``, not by socket: the echo may come
before the server function has answered, after it, or on another connection.

========== =================================================================================
an id is   its echo is
========== =================================================================================
in flight  held back; the server function's answer decides
settled    dropped: what it says is in the rows already
failed     applied like anybody's: the server did commit it, although the call said otherwise
unknown    applied like anybody's
========== =================================================================================

Ids expire, so the register does not grow.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic

from typing_extensions import TypeVar

__all__ = ["EchoRegister"]

M = TypeVar("M")

_LIFETIME: Final = 300.0
_CAPACITY: Final = 10_000


class EchoRegister(Generic[M]):
    """The mutation ids of one client instance; `M` is whatever is held back.

    Args:
        origin: gives this client instance, or None while there is no client.
        time: the clock, in seconds.
    """

    def __init__(self, *, origin: Callable[[], str | None], time: Callable[[], float]) -> None:
        self._origin = origin
        self._time = time
        self._in_flight: dict[str, list[M]] = {}
        self._settled: OrderedDict[str, float] = OrderedDict()

    def begin(self, id: str) -> None:  # noqa: A002 -- the wire's name
        """A mutation with this id is under way."""
        self._in_flight.setdefault(id, [])

    def settle(self, id: str) -> list[M]:  # noqa: A002
        """The mutation succeeded. Returns the echoes that were held back; they tell nothing new."""
        now = self._time()
        self._settled[id] = now
        while self._settled:
            oldest, since = next(iter(self._settled.items()))
            if now - since <= _LIFETIME and len(self._settled) <= _CAPACITY:
                break
            del self._settled[oldest]
        return self._in_flight.pop(id, [])

    def fail(self, id: str) -> list[M]:  # noqa: A002
        """The mutation failed and was rolled back. Returns the echoes that were held back, to be applied."""
        return self._in_flight.pop(id, [])

    def admit(self, id: str | None, origin: str | None, message: M) -> bool:  # noqa: A002
        """Whether to apply `message` now. A held one comes back from `settle` or `fail`."""
        if id is None or origin != self._origin():
            return True
        held = self._in_flight.get(id)
        if held is not None:
            held.append(message)
            return False
        since = self._settled.get(id)
        return since is None or self._time() - since > _LIFETIME

    def clear(self) -> None:
        """Forget everything: another user's ids mean nothing."""
        self._in_flight.clear()
        self._settled.clear()
