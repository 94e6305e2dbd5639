"""Ably's error codes, and what the core calls them: https://ably.com/docs/platform/errors/codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tanstack_realtime import ChannelDeniedError, CloseReason, ConnectionLostError, PublishError, RealtimeError

__all__ = ["close_reason", "is_token_error", "refusal"]

_FORBIDDEN: Final = 4403
_REVOKED: Final = 40141
_CONNECTION: Final = range(80000, 80100)
_WORDS: Final[Mapping[int, str]] = {
    40009: "too_large",
    40010: "bad_channel",
    40160: "denied",
    40161: "denied",
    42910: "rate_limited",
    42911: "rate_limited",
    42912: "rate_limited",
    42913: "rate_limited",
    90000: "unavailable",
    90001: "unavailable",
    90007: "unavailable",
    90010: "too_many_channels",
    91003: "too_many_members",
}
_PASSES: Final = frozenset({"rate_limited", "too_many_channels", "too_many_members", "unavailable"})


def is_token_error(code: int, /) -> bool:
    """Tell whether another token can heal it."""
    return 40140 <= code < 40150


def refusal(what: str, channel: str, code: int, status: int, message: str, /) -> RealtimeError:
    """Return the error for a `what` on a channel that Ably refused: ``"subscribe"`` or ``"presence"``."""
    if is_token_error(code) or code in _CONNECTION:
        return ConnectionLostError(f"{what} on {channel!r}: {message} ({code})", code=str(code), reason=message)
    word = _WORDS.get(code, str(code))
    passes = word in _PASSES or status in (408, 429) or status >= 500
    kind = PublishError if word in ("rate_limited", "too_large") and what == "presence" else ChannelDeniedError
    return kind(
        f"Ably refused to {what} on {channel!r}: {message} ({code})",
        channel=channel,
        code=word,
        reason=message,
        retryable=passes,
    )


def close_reason(code: int, message: str, /) -> CloseReason:
    """Return why a connection ended.

    Whatever Ably says can pass: it is the application that knows the user, and it is asked again for a token. The one
    exception is the application's own: it has revoked all that the user had.
    """
    if code == _REVOKED:
        return CloseReason(_FORBIDDEN, "access was revoked", retry=False)
    return CloseReason(code, message)
