"""Where Ably is: from the endpoint that the application names to the host to connect to."""

from __future__ import annotations

from typing import Final

__all__ = ["hosts_of"]

_FALLBACKS: Final = "abcde"
_POLICY: Final = "main"
_NONPROD: Final = "nonprod:"


def hosts_of(endpoint: str | None, /) -> tuple[str, ...]:
    """Return the hosts to try, the best first.

    The SDK would try the others by itself, but asks in between, with a blocking request, whether there is an internet.
    Rules: Ably's features specification, REC1 and REC2.

    Args:
        endpoint: a host, ``host:port``, the name of a routing policy, or None for Ably's default.
    """
    name = endpoint or _POLICY
    if name.startswith(_NONPROD):
        name = name.removeprefix(_NONPROD)
        main, fallback = "realtime.ably-nonprod.net", "fallback.ably-realtime-nonprod.com"
    elif "." in name or ":" in name or name == "localhost":
        return (name,)
    else:
        main, fallback = "realtime.ably.net", "fallback.ably-realtime.com"
    return (f"{name}.{main}", *(f"{name}.{letter}.{fallback}" for letter in _FALLBACKS))
