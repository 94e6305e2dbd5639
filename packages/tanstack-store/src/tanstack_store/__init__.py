"""Reactive state primitives: Store, Derived, batch."""

from ._version import __version__

__all__ = ["__version__"]
