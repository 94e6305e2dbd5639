"""Who is calling. The demonstration has two users with fixed tokens; a real application checks its session here."""

from __future__ import annotations

import hmac

from starlette.requests import HTTPConnection

from tanstack_realtime.server import bearer_token

__all__ = ["TOKENS", "get_user"]

TOKENS = {"ada": "demo-token-of-ada", "bob": "demo-token-of-bob"}


def get_user(connection: HTTPConnection) -> str | None:
    token = bearer_token(connection)
    if token is not None:
        for user_id, expected in TOKENS.items():
            if hmac.compare_digest(token.encode(), expected.encode()):
                return user_id
    return None
