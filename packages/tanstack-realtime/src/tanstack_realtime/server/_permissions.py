"""What an application hands to the server: the grant, and the signatures of its hooks."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from starlette.requests import HTTPConnection

from tanstack_realtime._keys import Channel

__all__ = ["ANONYMOUS", "Authorize", "GetUser", "Identity", "Permissions", "Reject", "Validate"]

ANONYMOUS: Final = ""
"""The user id that `authorize` sees for a connection without a user, where `allow_anonymous=True`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What one user may do on one channel. Everything that is not granted is denied.

    Attributes:
        subscribe: receive the channel's messages.
        publish: publish to the channel from a client. Subscribing is not needed for it.
        presence: appear among the channel's members, and see them.
        expires_in: seconds until the grant must be asked for again, or None for as long as the connection lives.

    Raises:
        TypeError: a flag is not a real bool. A truthy object would be a grant by accident.
        ValueError: `expires_in` is not a positive, finite number.
    """

    subscribe: bool = False
    publish: bool = False
    presence: bool = False
    expires_in: float | None = None

    def __post_init__(self) -> None:
        # One is made for every message: in the common case without a loop.
        if not (type(self.subscribe) is type(self.publish) is type(self.presence) is bool):
            for name in ("subscribe", "publish", "presence"):
                value: object = getattr(self, name)
                if not isinstance(value, bool):
                    advice = f"pass True or False, for example {name}=bool(member)"
                    raise TypeError(f"Permissions({name}={value!r}): {advice}")
        if self.expires_in is not None:
            _check_seconds("Permissions", self.expires_in)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a connection belongs to, and for how long that is known: what `get_user` returns for a token that expires.

    Attributes:
        user_id: the user's id, not empty.
        expires_in: seconds that the token is still good for, or None for as long as the connection lives. A live
            connection is asked for a new token in time, and closed when none comes.

    Raises:
        TypeError: a value of another type.
        ValueError: `user_id` is empty, or `expires_in` is not a positive, finite number.
    """

    user_id: str
    expires_in: float | None = None

    def __post_init__(self) -> None:
        user_id = cast("object", self.user_id)
        if not isinstance(user_id, str):
            raise TypeError(f"Identity({user_id!r}): pass the user's id as a str, for example str(user.id)")
        if not user_id:
            raise ValueError("Identity(''): pass the user's id; get_user returns None for nobody")
        _check_seconds("Identity", self.expires_in)


def _check_seconds(where: str, seconds: object) -> None:
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{where}(expires_in={seconds!r}): pass seconds as a number, or None")
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"{where}(expires_in={seconds!r}): pass a positive number of seconds, or None")


class Reject(Exception):
    """Raised by a `validate` hook: the message is not published, and the publisher is told the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Authorize: TypeAlias = Callable[[str, Channel], Permissions | Awaitable[Permissions]]
"""``authorize(user_id, channel)``, sync or async."""

GetUser: TypeAlias = Callable[[HTTPConnection], str | Identity | Awaitable[str | Identity | None] | None]
"""``get_user(connection)``, sync or async: the user's id, an `Identity` where it expires, or None for nobody.

An `HTTPException` of Starlette or FastAPI with 401 or 403 says nobody, too. Whatever else it raises is a failure, after
which clients try again.
"""

Validate: TypeAlias = Callable[[str, Channel, Any], Any | Awaitable[Any]]
"""``validate(user_id, channel, data)``, sync or async: the payload to publish, as it is or rewritten.

What it returns is published, `None` and `0` included. Raise `Reject` to publish nothing.
"""
