"""Live queries in NiceGUI pages. Needs ``tanstack-db[nicegui]``.

Example:
    >>> @ui.page("/projects/{project_id}")
    ... def project(project_id: str) -> None:
    ...     live = LivePage()
    ...     mine = live.collection(todos)
    ...
    ...     @live.list(lambda q: q.from_(todos).where(lambda t: t.project_id == project_id).order_by("created_at"))
    ...     def todo(row: Todo) -> None:
    ...         ui.label(row.text)
    ...         ui.button("done", on_click=lambda: mine.update(row.id, done=True))

NiceGUI renders in the server: a page that is open in a browser is one session with a client of its own, which ends with
the page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from nicegui import Client as Page
from nicegui import ui
from typing_extensions import TypeVar

from ._collections.client import DbClient
from ._collections.sessions import session_client
from ._collections.subscription import require_callback
from ._live.keyed import KeyedList
from ._live.live_query import LiveQuery, live_query

if TYPE_CHECKING:
    from nicegui.element import Element

    from ._base.relation import LiveSource
    from ._base.snapshot import Rows
    from ._collections.subscription import Change
    from ._transactions.transaction import Persist, Tx
    from .query import QueryBuilder

__all__ = ["LivePage", "Place"]

C = TypeVar("C")
Out = TypeVar("Out")
T = TypeVar("T", default=Any)

Shown: TypeAlias = "LiveSource[Out] | Callable[[QueryBuilder], LiveSource[Out]]"
"""What can be shown: a query, a collection, a scope, or a function that builds one."""


class LivePage:
    """The session of the page that is being built: make one in the page's function.

    From the first one on, module-level collections cannot be used without a session in this process, as if
    `require_sessions` had been called: it renders for many users.

    Args:
        client: makes the client of this session.

    Raises:
        UsageError: `client` is a client itself, or returned one that another page has.

    Attributes:
        client: whose collections are shown.
    """

    def __init__(self, client: Callable[[], DbClient] = DbClient) -> None:
        self.client = session_client(client, "LivePage")
        self._page: Page = ui.context.client
        cast("Any", self._page).on_delete(self.client.close)

    # -- writing -------------------------------------------------------------------------------------------------------

    def collection(self, collection: C, /) -> C:
        """Return this session's own instance of a collection, to write to it in handlers of events."""
        return self.client.collection(collection)

    def transact(self, change: Callable[[Tx], object], server_fn: Persist, /) -> Tx:
        """Like the function `transact`, for this session."""
        return self.client.transact(change, server_fn)

    # -- showing -------------------------------------------------------------------------------------------------------

    def follow(self, query: Shown[Out], show: Callable[[Out], object], /) -> LiveQuery[Out]:
        """Call `show` with the result now and after each change, inside the element that is being built now.

        Args:
            query: what to follow.
            show: a plain function, for example one that sets the text of a label.

        Returns:
            The live query, for example to move its window or to close it.

        Raises:
            QueryError: the query cannot be built.
            UsageError: `show` is a coroutine function.
        """
        require_callback(show, "LivePage.follow")
        live, place = self._live(query), self.here()

        def changed() -> None:
            if place.is_gone:
                live.close()
            else:
                place.call(show, live.get())

        live.subscribe(changed)
        changed()
        return live

    def show(self, query: Shown[Out], /) -> Callable[[Callable[[Out], object]], LiveQuery[Out]]:
        """Decorate a function that builds elements for a result. They are built anew after each change.

        For long lists take `list`, which builds only what changed.

        Example:
            >>> @live.show(lambda q: q.from_(todos).aggregate(lambda t: count()))
            ... def total(number: int) -> None:
            ...     ui.label(f"{number} todos")
        """

        def decorate(build: Callable[[Out], object]) -> LiveQuery[Out]:
            require_callback(build, "LivePage.show")
            place = ui.element("div").classes("contents")

            def rebuild(result: Out) -> None:
                place.clear()
                with place:
                    build(result)

            return self.follow(query, rebuild)

        return decorate

    def list(self, query: Shown[Rows[T]], /) -> Callable[[Callable[[T], object]], LiveQuery[Rows[T]]]:
        """Decorate a function that builds the elements of one row. A change touches only the elements of its row."""

        def decorate(build: Callable[[T], object]) -> LiveQuery[Rows[T]]:
            require_callback(build, "LivePage.list")
            live = self._live(query)
            items = _Items(ui.element("div").classes("contents"), build)
            with items.place:
                place = self.here()

            def changed(changes: Sequence[Change[T, Any]]) -> None:
                if place.is_gone:
                    live.close()
                else:
                    items.apply(changes)

            live.subscribe_changes(changed, include_initial_state=True)
            return live

        return decorate

    def _live(self, query: Shown[Out]) -> LiveQuery[Out]:
        with self.client.activate():
            return live_query(query, client=self.client)

    def here(self) -> Place:
        """Return where elements are being built now, to build more there later."""
        return Place(self._page, self.client)


class Place:
    """Where elements of a page are built, for as long as it is there.

    Args:
        page: NiceGUI's client.
        client: the session's client.
    """

    def __init__(self, page: Page, client: DbClient) -> None:
        self._page = page
        self._client = client
        self._slot = ui.context.slot
        self._element = self._slot.parent  # the slot itself would forget it

    @property
    def is_gone(self) -> bool:
        """Whether there is nobody any more to show anything to: it was deleted, or the page was closed."""
        return self._page.is_deleted or self._element.is_deleted or self._client.is_closed

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function here, unless this is gone. A coroutine function's work ends with the session."""
        if self.is_gone:
            return
        with self._slot:
            result = function(*arguments)
        if isawaitable(result):
            self._client.start(self._await(result), "do what a handler of a page began")

    async def _await(self, result: Awaitable[object]) -> None:
        with self._slot:
            await result


class _Items:
    """The elements of a list, one place for each row."""

    def __init__(self, place: Element, build: Callable[[Any], object]) -> None:
        self.place = place
        self._build = build
        self._list = KeyedList[Any]()
        self._places: dict[Any, Element] = {}

    def apply(self, changes: Sequence[Change[Any, Any]]) -> None:
        """Do what a batch of changes takes."""
        for step in self._list.apply(changes):
            if step.type == "remove":
                self._places.pop(step.key).delete()
                continue
            if step.type == "insert":
                with self.place:
                    self._places[step.key] = ui.element("div").classes("contents")
            item = self._places[step.key]
            item.clear()
            with item:
                self._build(step.row)
            if step.type != "update":
                self._place(item, step.before)

    def _place(self, item: Element, before: Any) -> None:
        others = [child for child in self.place if child is not item]
        at = len(others) if before is None else others.index(self._places[before])
        item.move(target_index=at)
