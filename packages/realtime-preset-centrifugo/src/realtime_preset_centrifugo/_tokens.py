"""Connection tokens: JSON Web Tokens (RFC 7519) that Centrifugo checks by itself, signed with HS256.

A token says who a connection belongs to, and nothing else. What the user may do is asked anew for every channel.
"""

from __future__ import annotations

import math
from typing import Final

import jwt

from ._names import subject_of

__all__ = ["TOKEN_LIFETIME", "connection_token"]

TOKEN_LIFETIME: Final = 900.0
"""Seconds. The SDK gets another token before one ends, from the application, which so learns who is still there."""


def connection_token(user_id: str, secret: str, *, now: float, expires_in: float | None = None) -> tuple[str, float]:
    """Return a token for a user whom the application has authenticated, and how many seconds it holds.

    Args:
        user_id: who; empty for nobody.
        secret: signs it.
        now: seconds since 1970.
        expires_in: seconds until the application wants to be asked again, or None.
    """
    lifetime = min(TOKEN_LIFETIME, math.inf if expires_in is None else max(1.0, expires_in))
    claims = {"sub": subject_of(user_id), "iat": int(now), "exp": math.ceil(now + lifetime)}
    return jwt.encode(claims, secret, algorithm="HS256"), lifetime
