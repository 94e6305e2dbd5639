"""TanStack Realtime preset: Centrifugo."""

from ._version import __version__

__all__ = ["__version__"]
