"""How often somebody may publish over HTTP, where there is no connection that could have a limit of its own."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from tanstack_realtime._errors import PublishError
from tanstack_realtime._rate import TokenBucket

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["PublishLimiter"]

_REMEMBERED: Final = 10_000
"""Publishers whose use is known; the one that was longest quiet is forgotten first, most likely with a full bucket."""


class PublishLimiter:
    """A token bucket for each user, and for each address among those who are nobody.

    Args:
        rate: requests per second in the long run; ``math.inf`` for no limit.
        burst: requests at once after a pause.
    """

    def __init__(self, *, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[tuple[str, str], TokenBucket] = OrderedDict()

    def admit(self, request: Request, user_id: str) -> None:
        """Count a request.

        Raises:
            PublishError: too many (``rate_limited``, retryable, with `retry_after`).
        """
        now = asyncio.get_running_loop().time()
        key = (user_id, "" if user_id or request.client is None else request.client.host)
        bucket = self._buckets.pop(key, None) or TokenBucket(rate=self._rate, burst=self._burst, now=now)
        self._buckets[key] = bucket
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        wait = bucket.take(now)
        if wait:
            raise PublishError(
                f"user {user_id!r} publishes over HTTP more often than {self._rate:g} times per second",
                code="rate_limited",
                reason="requests come too fast",
                retryable=True,
                retry_after=wait,
            )
