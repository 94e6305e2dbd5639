"""Hooks for ReactPy 1.x and 2.x, named like those of ``@tanstack/react-db``. Needs ``tanstack-db[react]``.

Example:
    >>> @component
    ... def TodoList(project_id: str):
    ...     rows = use_live_query(lambda q: q.from_(todos).where(lambda t: t.project_id == project_id))
    ...     return html.ul(*(html.li({"key": t.id}, t.text) for t in rows))
    >>> @component
    ... def App():
    ...     return DBProvider(TodoList("1"))

ReactPy renders in the server: each `DBProvider` is one user's session with a client of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import reactpy

from ._collections.client import DbClient
from .hooks import Cleanup, DbHooks, Ref, on_loop, use_session

if TYPE_CHECKING:
    from typing import Final

__all__ = ["DBProvider", "runtime", "use_client", "use_collection", "use_live_query", "use_transact"]

# Typed here and not by ReactPy: the types of 1.x and 2.x differ.
_context: Any = reactpy.create_context(cast("Any", None))


class _ReactPy:
    """ReactPy's hooks."""

    def use_ref(self) -> Ref:
        return cast("Ref", reactpy.use_ref(cast("Any", None)))

    def use_rerender(self) -> Callable[[], None]:
        # A number that only counts: ReactPy compares states, and a snapshot could be equal to its predecessor.
        bump: Callable[[Callable[[int], int]], None] = cast("Any", reactpy.use_state(0))[1]
        return on_loop(lambda: bump(lambda n: n + 1))

    def use_effect(self, mount: Callable[[], Cleanup], key: object) -> None:
        reactpy.use_effect(mount, dependencies=[key])

    def use_client(self) -> DbClient | None:
        return cast("DbClient | None", reactpy.use_context(_context))

    def provide(self, client: DbClient, *children: Any) -> Any:
        """Return the element in which `use_client` gives `client`."""
        return _context(*children, value=client)


runtime: Final = _ReactPy()
"""ReactPy for the hooks of higher layers."""

_hooks = DbHooks(runtime)
use_live_query = _hooks.use_live_query
use_collection = _hooks.use_collection
use_transact = _hooks.use_transact
use_client = _hooks.use_client


@reactpy.component
def DBProvider(*children: Any, client: Callable[[], DbClient] = DbClient) -> Any:
    """Give a session its own client: rows, optimistic state and running queries that no other session sees.

    Args:
        children: the components that use it.
        client: makes the client, once per session.

    Raises:
        UsageError: `client` is a client itself, or returned one that is used already.
    """
    return runtime.provide(use_session(runtime, client, "DBProvider"), *children)
