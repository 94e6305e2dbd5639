"""TanStack Realtime preset: an in-process WebSocket server, no other service."""

from ._version import __version__

__all__ = ["__version__"]
