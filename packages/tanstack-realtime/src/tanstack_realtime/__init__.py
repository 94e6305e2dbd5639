"""Live collections, live channels and presence for tanstack-db, over a swappable provider."""

from ._version import __version__

__all__ = ["__version__"]
