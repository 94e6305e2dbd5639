"""TanStack Realtime preset: Ably."""

from ._version import __version__

__all__ = ["__version__"]
