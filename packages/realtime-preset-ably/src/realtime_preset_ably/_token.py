"""The token of one link: it grows with what is subscribed, is renewed before it ends, and narrows then."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from tanstack_realtime import (
    AuthenticationError,
    ChannelDeniedError,
    CloseReason,
    ConnectionLostError,
    RealtimeError,
)
from tanstack_realtime._backoff import backoff

from ._grant import MAX_CHANNELS, Application, Denial, Grant
from ._life import Gathered, Life
from ._sdk_channel import SdkError
from ._timing import AblyTiming
from ._wanted import Operation, Use, Wanted

__all__ = ["Token"]

_NOT_SIGNED_IN: Final = 4401
_LEAST_RENEWAL: Final = 1.0
"""Seconds between two renewals at least, however soon a grant ends."""
_UNDECIDED: Final = 300.0
"""Seconds after which a channel is lost that the application still cannot decide about."""


class Token:
    """What the connection may do at Ably.

    Args:
        life: owns what is under way.
        application: gives grants.
        grant: what the first token holds.
        asked: the channels that it was asked for.
        exchange: gives the details of the token of another grant.
        authorize: has the SDK take a new token; it calls `renew`.
        refused: told that the application does not know us any more.
        revoked: told of what is in use and granted no longer.
        timing: delays.
    """

    def __init__(
        self,
        life: Life,
        *,
        application: Application,
        grant: Grant,
        asked: Sequence[str],
        exchange: Callable[[Grant], Awaitable[Mapping[str, Any]]],
        authorize: Callable[[], Awaitable[None]],
        refused: Callable[[CloseReason], object],
        revoked: Callable[[Use, Denial], object],
        timing: AblyTiming,
    ) -> None:
        self._life = life
        self._application = application
        self._exchange = exchange
        self._authorize_at_ably = authorize
        self._refused = refused
        self._revoked = revoked
        self._timing = timing
        self._wanted = Wanted()
        _ = self._wanted.renewed(grant, asked)  # nothing is in use yet
        self._grow = Gathered(life, self._authorize, timing.gather)
        self._renewing = asyncio.Lock()
        self._taken: asyncio.Future[None] | None = None
        self._renewal: asyncio.TimerHandle | None = None
        self._failures = 0
        self._undecided_since: float | None = None
        self._renew_in(_before(grant.expires_in))

    @property
    def channels(self) -> tuple[str, ...]:
        """What is in use."""
        return self._wanted.channels

    async def cover(self, channel: str, operation: Operation) -> None:
        """See to it that the token allows an operation, which is in use from now on.

        Raises:
            ChannelDeniedError: the application does not grant it; `retryable` where it could not decide.
            ConnectionLostError: there is no answer.
        """
        if self._wanted.covers(channel, operation):
            self._wanted.need(channel, operation)
            return
        self._wanted.need(channel, operation)
        try:
            if len(self._wanted.channels) > MAX_CHANNELS:
                raise ChannelDeniedError(
                    f"a connection to Ably uses at most {MAX_CHANNELS} channels at once; {channel!r} is one more. "
                    "Unsubscribe from others first",
                    channel=channel,
                    code="too_many_channels",
                    reason=f"more than {MAX_CHANNELS} channels",
                    retryable=True,
                )
            await self._grow()
            if not self._wanted.covers(channel, operation):
                denial = self._wanted.denial(channel, operation)
                raise ChannelDeniedError(
                    f"{operation} on {channel!r} is refused: {denial.reason}",
                    channel=channel,
                    code=denial.code,
                    reason=denial.reason,
                    retryable=denial.retryable,
                )
        except BaseException as error:
            self._wanted.drop(channel, operation)
            if isinstance(error, SdkError):
                raise ConnectionLostError(
                    f"Ably did not take a token: {error.message}", reason=error.message
                ) from error
            raise

    def drop(self, channel: str, operation: Operation) -> None:
        """It is not in use any more: the next token is without it."""
        self._wanted.drop(channel, operation)

    async def renew(self) -> Mapping[str, Any]:
        """Give another token: asked for by the SDK, when Ably asks for it or `_grow` does."""
        try:
            token = await self._life.run(self._another_token())
        except AuthenticationError as error:
            self._refused(CloseReason(_NOT_SIGNED_IN, error.reason or str(error), retry=False))
            raise
        except RealtimeError:
            self._renew_in(backoff(self._failures, random.random))
            self._failures += 1
            raise
        self._failures = 0
        return token

    async def _another_token(self) -> Mapping[str, Any]:
        # One after the other, each until Ably has taken it: a token that names fewer channels must not come last.
        async with self._renewing:
            if self._taken is not None:
                await asyncio.wait({self._taken}, timeout=self._timing.request)
            names = self._wanted.channels
            grant = await self._application.grant(names)
            self._require_decided(grant)
            token = await self._exchange(grant)
            self._taken = asyncio.get_running_loop().create_future()
        self._renew_in(_before(grant.expires_in))
        for use in self._wanted.renewed(grant, names):
            self._revoked(use, self._wanted.denial(*use))
        return token

    def _require_decided(self, grant: Grant) -> None:
        """Keep the token that we have where another would lack what nobody has refused.

        A database that is away for a moment must not empty everybody's screen.
        """
        undecided = self._wanted.undecided(grant)
        if not undecided:
            self._undecided_since = None
            return
        now = asyncio.get_running_loop().time()
        if self._undecided_since is None:
            self._undecided_since = now
        if now - self._undecided_since < _UNDECIDED:
            channel, operation = undecided[0]
            denial = grant.denied[channel]
            raise ConnectionLostError(
                f"the application cannot decide about {operation} on {channel!r} now: {denial.reason}",
                code=denial.code,
                reason=denial.reason,
            )

    def taken(self) -> None:
        """Ably has taken the last token that `renew` gave."""
        if self._taken is not None:
            taken, self._taken = self._taken, None
            taken.set_result(None)

    def end(self) -> None:
        """Renew it no more."""
        if self._renewal is not None:
            self._renewal.cancel()

    def _renew_in(self, delay: float) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        if self._life.reason is None:
            loop = asyncio.get_running_loop()
            self._renewal = loop.call_later(max(delay, _LEAST_RENEWAL), self._begin_renewal)

    def _begin_renewal(self) -> None:
        _ = self._life.spawn(self._grow())

    async def _authorize(self) -> None:
        # The SDK waits without end for Ably, in between for the application's answer and Ably's with the token.
        try:
            async with asyncio.timeout(3 * self._timing.request):
                await self._authorize_at_ably()
        except (SdkError, TimeoutError) as error:
            raise ConnectionLostError(f"Ably did not take another token: {error!r}", reason="no token") from error


def _before(expires_in: float) -> float:
    """Return when to ask again. Of a long life Ably reminds us earlier, half a minute before the end."""
    return expires_in - min(10.0, expires_in / 10)
