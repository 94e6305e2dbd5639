"""An Ably-protocol server for development and tests. Needs the extra ``emulator``."""

from __future__ import annotations

__all__: list[str] = []
