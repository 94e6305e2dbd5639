"""Hooks for component frameworks, written once over four primitives.

`tanstack_db.react`, `tanstack_db.solara` and `tanstack_db.flet` bind them. To bind another framework, implement
`Runtime` and make a `DbHooks` of it; write a provider component with `use_session`.

============== ==================================================================================
``_hooks``     `DbHooks`: ``use_live_query``, ``use_collection``, ``use_transact``, ``use_client``
``_session``   `use_session`: a client per mounted provider
``_store``     `use_store`: read while rendering, subscribed while mounted
``_runtime``   `Runtime`: what a framework must be able to do
============== ==================================================================================
"""

from ._hooks import DbHooks, Transact
from ._runtime import Cleanup, Ref, Runtime, on_loop
from ._session import use_session
from ._store import ExternalStore, use_store

__all__ = ["Cleanup", "DbHooks", "ExternalStore", "Ref", "Runtime", "Transact", "on_loop", "use_session", "use_store"]
