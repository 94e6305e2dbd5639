"""What things are called at Ably: channels keep their wire string, a room of members gets a channel of its own.

Ably's operation ``subscribe`` covers a channel's messages and its members alike, so one channel cannot grant either
alone. Messages of ``chat:room=1`` travel there; its members meet on ``chat:room=1:presence``, where nobody publishes.
No application channel has that name or `BASE_CHANNEL`'s: a second colon, and a parameter without ``=``, are never
canonical.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final
from urllib.parse import quote, unquote

__all__ = ["BASE_CHANNEL", "MARK_HEADER", "client_id_of", "mark_of", "presence_channel", "user_of"]

BASE_CHANNEL: Final = "tanstack-realtime:connection"
"""Every token may subscribe to it and nobody publishes on it: a capability that is never empty."""

MARK_HEADER: Final = "link"
"""Name in ``extras.headers`` of what `mark_of` returns."""
_PRESENCE: Final = ":presence"
_NOBODY: Final = "~"
_SAFE: Final = "@:+/="
"""Left as it is in a client id, so that an e-mail address stays legible."""


def presence_channel(channel: str, /) -> str:
    """Return the channel where the members of `channel` meet."""
    return channel + _PRESENCE


def client_id_of(user_id: str, /) -> str:
    """Return Ably's client id of a user: never empty, never ``*``, on one line, and another one for every user.

    At Ably ``*`` is a token for every identity, an absent id is a connection that claims one by itself, and a line
    break would let the fields that are signed be cut at another place.
    """
    return quote(user_id, safe=_SAFE, errors="surrogatepass").replace("~", "%7E") or _NOBODY


def mark_of(link: str, /) -> str:
    """Return what a message carries of the link that published it.

    The link itself is known to its client and the application only. Everybody reads the mark, and nobody can name to
    the application the link that it is made of: another's message never looks like an own one.
    """
    return base64.urlsafe_b64encode(hashlib.sha256(link.encode()).digest()).decode().rstrip("=")


def user_of(client_id: object, /) -> str | None:
    """Return the user id that `client_id_of` made `client_id` of, or None for what it makes of nobody."""
    if not isinstance(client_id, str):
        return None
    try:
        user_id = "" if client_id == _NOBODY else unquote(client_id, errors="surrogatepass")
    except UnicodeDecodeError:
        return None
    return user_id if client_id_of(user_id) == client_id else None
