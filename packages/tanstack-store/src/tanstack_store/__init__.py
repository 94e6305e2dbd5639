"""Reactive state primitives: a value that can be set, values derived from it, and batches of changes.

===========  ==========================================================================
`Store`      a value; ``state``, ``set_state``, ``subscribe``
`Derived`    a value computed from stores and other derived values, computed once per change
`batch`      several changes, one notification
===========  ==========================================================================

Everything is synchronous, and belongs to the thread that uses it.
"""

from ._store import Derived, Readable, Store, batch
from ._version import __version__

__all__ = ["Derived", "Readable", "Store", "__version__", "batch"]
