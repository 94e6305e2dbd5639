"""Reactive client store: collections, optimistic transactions, incrementally maintained live queries."""

from ._version import __version__

__all__ = ["__version__"]
