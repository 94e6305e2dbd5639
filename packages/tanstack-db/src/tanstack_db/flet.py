"""Hooks for Flet 1.x. Needs ``tanstack-db[flet]``.

Example:
    >>> @ft.component
    ... def TodoList(project_id: str):
    ...     rows = use_live_query(lambda q: q.from_(todos).where(lambda t: t.project_id == project_id))
    ...     return ft.Column([ft.Text(t.text, key=t.id) for t in rows])
    >>> def main(page: ft.Page):
    ...     page.render(lambda: DBProvider(lambda: TodoList("1")))

Each `DBProvider` is one user's session with a client of its own. It ends with its component, or when the page is
closed; a handler of ``page.on_close`` of your own must be set before the page is rendered.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import flet as ft

from ._collections.client import DbClient
from .hooks import Cleanup, DbHooks, Ref, on_loop, use_session

if TYPE_CHECKING:
    from typing import Final

__all__ = ["DBProvider", "on_page_event", "runtime", "use_client", "use_collection", "use_live_query", "use_transact"]

_context: Any = ft.create_context(cast("Any", None))


def on_page_event(page: ft.Page, event: str, callback: Callable[[Any], object], /) -> Cleanup:
    """Call `callback` at each event of a page, before the handler that the page has for it now.

    A handler that is assigned to the page later replaces both.

    Args:
        page: the user's page.
        event: ``close`` for ``page.on_close``.
        callback: a plain function of the event.

    Returns:
        The function that ends it.
    """
    field = f"on_{event}"
    before: Any = getattr(page, field)
    is_active = True

    async def handle(given: Any) -> None:
        if is_active:
            callback(given)
        if before is not None:
            await _finish(before(*(given,)[: len(inspect.signature(before).parameters)]))

    def stop() -> None:
        nonlocal is_active
        is_active = False
        if getattr(page, field) is handle:
            setattr(page, field, before)

    setattr(page, field, handle)
    return stop


async def _finish(handled: Any) -> None:
    """Let a handler do its work, of whichever kind it is: Flet takes functions, coroutines and generators."""
    if inspect.isawaitable(handled):
        await handled
    elif inspect.isasyncgen(handled):
        async for _ in handled:
            pass
    elif inspect.isgenerator(handled):
        for _ in handled:
            pass


class _Page:
    """What must end when a page is closed: Flet then forgets the effects of its components without undoing them."""

    def __init__(self, page: ft.Page) -> None:
        self._ends: dict[object, Cleanup] = {}
        on_page_event(page, "close", self._close)

    def add(self, end: Cleanup) -> Cleanup:
        """Call `end` when the page is closed, or before: with the function that this returns. Once."""
        token = object()
        self._ends[token] = end

        def ended() -> None:
            if self._ends.pop(token, None) is not None:
                end()

        return ended

    def _close(self, _: object) -> None:
        # Children were mounted before their parents, whose client they use.
        while self._ends:
            self._ends.pop(next(iter(self._ends)))()


_pages: WeakKeyDictionary[ft.Page, _Page] = WeakKeyDictionary()


def _this_page() -> _Page:
    page = ft.context.page
    if page not in _pages:
        _pages[page] = _Page(page)
    return _pages[page]


class _Flet:
    """Flet's hooks."""

    def use_ref(self) -> Ref:
        return cast("Ref", ft.use_ref())

    def use_rerender(self) -> Callable[[], None]:
        bump: Callable[[Callable[[int], int]], None] = cast("Any", ft).use_state(0)[1]
        # Flet finds the page by a context variable, which callbacks from elsewhere do not have.
        context = copy_context()
        return on_loop(lambda: context.copy().run(bump, lambda n: n + 1))

    def use_effect(self, mount: Callable[[], Cleanup], key: object) -> None:
        # What an effect returns is lost with the next render; so the place is the component's.
        place, page = self.use_ref(), _this_page()

        def setup() -> None:
            place.current = page.add(mount())

        def cleanup() -> None:
            end: Cleanup | None = place.current
            place.current = None
            if end is not None:
                end()

        ft.use_effect(setup, [key], cleanup)

    def use_client(self) -> DbClient | None:
        return cast("DbClient | None", ft.use_context(_context))

    def provide(self, client: DbClient, content: Callable[[], Any]) -> Any:
        """Return what `content` makes, with `client` for its components."""
        return _context(client, content)


runtime: Final = _Flet()
"""Flet for the hooks of higher layers."""

_hooks = DbHooks(runtime)
use_live_query = _hooks.use_live_query
use_collection = _hooks.use_collection
use_transact = _hooks.use_transact
use_client = _hooks.use_client


@ft.component
def DBProvider(content: Callable[[], Any], *, client: Callable[[], DbClient] = DbClient) -> Any:
    """Give a session its own client: rows, optimistic state and running queries that no other session sees.

    Args:
        content: makes the component or components that use it.
        client: makes the client, once per session.

    Raises:
        UsageError: `client` is a client itself, or returned one that is used already.
    """
    return runtime.provide(use_session(runtime, client, "DBProvider"), content)
