"""Hooks for Solara (Reacton). Needs ``tanstack-db[solara]``.

Example:
    >>> @solara.component
    ... def TodoList(project_id: str):
    ...     for todo in use_live_query(lambda q: q.from_(todos).where(lambda t: t.project_id == project_id)):
    ...         solara.Text(todo.text)
    >>> @solara.component
    ... def Page():
    ...     with DBProvider():
    ...         TodoList("1")

Solara renders in the server: each `DBProvider` is one user's session with a client of its own. Its kernels must run on
the event loop, as this library does: start the server with ``SOLARA_KERNEL_THREADED=False``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar, cast

import reacton
import solara

from ._collections.client import DbClient
from ._errors import UsageError
from .hooks import Cleanup, DbHooks, Ref, on_loop, use_session

if TYPE_CHECKING:
    from typing import Final

__all__ = ["DBProvider", "runtime", "use_client", "use_collection", "use_live_query", "use_transact"]

F = TypeVar("F", bound=Callable[..., Any])

# What the two are typed as does not pass strict checks.
_reacton: Any = reacton
_solara: Any = solara
_context: Any = _reacton.create_context(None)


class _Solara:
    """Solara's hooks."""

    def use_ref(self) -> Ref:
        return cast("Ref", _reacton.use_ref(None))

    def use_rerender(self) -> Callable[[], None]:
        bump: Callable[[Callable[[int], int]], None] = _reacton.use_state(0)[1]
        _require_loop()
        # Solara finds the widgets of a session by its kernel, which is not the current one in a callback.
        kernel = _kernel()

        def render() -> None:
            with kernel:
                bump(lambda n: n + 1)

        return on_loop(render)

    def use_effect(self, mount: Callable[[], Cleanup], key: object) -> None:
        _reacton.use_effect(mount, [key])

    def use_client(self) -> DbClient | None:
        return cast("DbClient | None", _reacton.use_context(_context))

    def provide(self, client: DbClient) -> None:
        """Let `use_client` give `client` to the components below this one."""
        _context.provide(client)


def _kernel() -> AbstractContextManager[object]:
    """Return the context of the kernel that renders now; nothing outside Solara's server, for example in a notebook."""
    try:
        from solara.server import kernel_context
    except ImportError:
        return nullcontext()
    server: Any = kernel_context
    return server.get_current_context() if server.has_current_context() else nullcontext()


def _require_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            "Solara renders in a thread without an event loop; start its server with SOLARA_KERNEL_THREADED=False"
        ) from None


runtime: Final = _Solara()
"""Solara for the hooks of higher layers."""

_hooks = DbHooks(runtime)
use_live_query = _hooks.use_live_query
use_collection = _hooks.use_collection
use_transact = _hooks.use_transact
use_client = _hooks.use_client


def _component(function: F) -> F:
    return cast("F", _reacton.component(function))


@_component
def DBProvider(children: Sequence[Any] = (), *, client: Callable[[], DbClient] = DbClient) -> Any:
    """Give a session its own client: rows, optimistic state and running queries that no other session sees.

    Args:
        children: the components that use it; as a rule those inside ``with DBProvider():``.
        client: makes the client, once per session.

    Raises:
        UsageError: `client` is a client itself, or returned one that is used already.
    """
    _require_loop()
    runtime.provide(use_session(runtime, client, "DBProvider"))
    return _solara.Column(children=list(children))
