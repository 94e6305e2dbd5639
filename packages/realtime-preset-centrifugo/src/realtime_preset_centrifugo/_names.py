"""What things are called in Centrifugo: channels get a namespace in front, users an id that is never empty.

``rt:`` carries messages and ``rtp:`` presence. Two namespaces serve every application, so Centrifugo's configuration
does not depend on the channels that one has.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DATA_PREFIX", "PRESENCE_PREFIX", "subject_of", "user_of"]

DATA_PREFIX: Final = "rt:"
"""In front of a channel whose messages are meant."""

PRESENCE_PREFIX: Final = "rtp:"
"""In front of a channel whose members are meant."""

_NOBODY: Final = "~"


def subject_of(user_id: str, /) -> str:
    """Return Centrifugo's name of a user. There an empty one is a connection without a token, which is never let in."""
    return f"{_NOBODY}{user_id}" if not user_id or user_id.startswith(_NOBODY) else user_id


def user_of(subject: object, /) -> str | None:
    """Return the user id that `subject_of` made `subject` of, or None for what it makes of nobody."""
    if not isinstance(subject, str) or not subject:
        return None
    if not subject.startswith(_NOBODY):
        return subject
    user_id = subject[1:]
    return user_id if subject_of(user_id) == subject else None
