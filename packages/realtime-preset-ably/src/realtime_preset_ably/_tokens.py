"""Token requests: signed here, exchanged for a token by the client, at Ably, which checks the signature.

https://ably.com/docs/platform/account/app/api#token-request-spec
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ._names import BASE_CHANNEL, presence_channel

if TYPE_CHECKING:
    from ._settings import ServerSettings

__all__ = ["REQUEST_LIFETIME", "capability_of", "token_request"]

REQUEST_LIFETIME: Final = 120.0
"""Seconds in which Ably takes a token request."""


def capability_of(granted: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return Ably's operations by channel for ours. Never empty, never a pattern, never ``publish``.

    Args:
        granted: ``"subscribe"``, ``"presence"``, ``"publish"`` by wire name. Whoever may publish does so through the
            application's gate, which a token that publishes would go around.
    """
    capability = {BASE_CHANNEL: ["subscribe"]}
    for channel, operations in granted.items():
        if "subscribe" in operations:
            capability[channel] = ["subscribe"]
        if "presence" in operations:
            capability[presence_channel(channel)] = ["presence", "subscribe"]
    return capability


def token_request(
    settings: ServerSettings,
    client_id: str,
    capability: Mapping[str, list[str]],
    *,
    ttl: float,
    now: float,
    nonce: str,
) -> dict[str, Any]:
    """Return a signed token request.

    Args:
        settings: the key.
        client_id: who the token belongs to; one line.
        capability: operations by channel. Not empty: Ably takes an absent one for everything that the key may.
        ttl: seconds that the token holds.
        now: seconds since 1970.
        nonce: at least 16 random characters; Ably takes each request once.
    """
    if not capability or not all(capability.values()):
        raise ValueError(f"the capability {capability!r} grants nothing somewhere")
    fields: dict[str, Any] = {
        "keyName": settings.key_name,
        "ttl": int(ttl * 1000),
        "capability": json.dumps(capability, sort_keys=True, separators=(",", ":")),
        "clientId": client_id,
        "timestamp": int(now * 1000),
        "nonce": nonce,
    }
    text = "".join(f"{value}\n" for value in fields.values())
    digest = hmac.digest(settings.key_secret.encode(), text.encode(), hashlib.sha256)
    return {**fields, "mac": base64.b64encode(digest).decode()}
