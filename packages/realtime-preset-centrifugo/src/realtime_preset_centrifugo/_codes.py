"""Refusals as numbers: Centrifugo lets a proxy answer with a number from 400 to 1999 and a text, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tanstack_realtime import ChannelDeniedError, PublishError, RealtimeError

__all__ = ["REVOKED", "disconnect_is_final", "proxy_error", "refusal"]

REVOKED: Final = 4501
"""With it the server ends the connections of a user whose access is gone. 4500 to 4999 is final for every SDK."""

_NUMBERS: Final[Mapping[str, int]] = {
    "bad_channel": 400,
    "unauthenticated": 401,
    "denied": 403,
    "too_large": 413,
    "bad_data": 415,
    "rejected": 422,
    "rate_limited": 429,
    "unavailable": 503,
}
_WORDS: Final[Mapping[int, str]] = {
    **{number: word for word, number in _NUMBERS.items()},
    # Centrifugo's own: https://centrifugal.dev/docs/server/codes
    100: "unavailable",
    101: "unauthenticated",
    102: "unknown_namespace",
    103: "denied",
    106: "too_many_channels",
    107: "bad_channel",
    111: "rate_limited",
    113: "rate_limited",
}
_OTHER: Final = 500
_DENIED: Final = frozenset({"bad_channel", "denied", "unauthenticated"})


def proxy_error(error: RealtimeError) -> dict[str, Any]:
    """Return the answer of a proxy that refuses.

    Only an `error` at the top level refuses. Centrifugo takes everything else that comes with status 200 for a grant.
    """
    number = _NUMBERS.get(error.code, _OTHER)
    body: dict[str, Any] = {"code": number, "message": error.reason or error.code}
    if error.retryable:
        body["temporary"] = True
    return {"error": body}


def refusal(what: str, channel: str, number: int, message: str, *, temporary: bool) -> RealtimeError:
    """Return the error for a refused `what`: ``"subscribe"``, ``"publish"`` or ``"presence"``."""
    code = _WORDS.get(number, str(number))
    denied = code in _DENIED or what != "publish"
    advice = "; its configuration lacks the namespaces rt and rtp" if number == 102 else ""
    return (ChannelDeniedError if denied else PublishError)(
        f"the server refused to {what} on {channel!r}: {message} ({number}){advice}",
        channel=channel,
        code=code,
        reason=message,
        retryable=temporary,
    )


def disconnect_is_final(code: int) -> bool:
    """Tell whether connecting again after this code is of no use, by Centrifugo's rule."""
    return 3500 <= code < 4000 or 4500 <= code < 5000
