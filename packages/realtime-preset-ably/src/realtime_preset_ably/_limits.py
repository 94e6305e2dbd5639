"""What the preset promises, in numbers that both halves know."""

from __future__ import annotations

from typing import Final

__all__ = ["GHOST_TIMEOUT", "HISTORY", "MAX_MESSAGE_BYTES", "MAX_STATE_BYTES", "REMAIN_PRESENT"]

MAX_MESSAGE_BYTES: Final = 64_000
"""Largest payload, as UTF-8 JSON: Ably's 65536 less what counts besides, the client id and the extras."""

MAX_STATE_BYTES: Final = 16_384
"""Largest state of a member, as UTF-8 JSON."""

REMAIN_PRESENT: Final = 5.0
"""Seconds that a member stays one after its connection has died. Ably's own default is 15."""

GHOST_TIMEOUT: Final = 30.0 + REMAIN_PRESENT
"""Seconds: Ably notices a dead connection within half a minute."""

HISTORY: Final = 100
"""Messages of a channel that can be replayed. Ably keeps two minutes, however many that are."""
