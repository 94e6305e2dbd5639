"""Live queries in Textual: a mixin for any widget, a table and a list. Needs ``tanstack-db[textual]``.

Example:
    >>> class Totals(LiveMixin, Static):
    ...     def on_mount(self) -> None:
    ...         self.show_live(lambda q: q.from_(todos).aggregate(lambda t: count()), self.update)
    >>> class Todos(Vertical):
    ...     def compose(self) -> ComposeResult:
    ...         yield LiveTable(lambda q: q.from_(todos).order_by("created_at"), {"Todo": "text", "Done": is_done})

A terminal program has one user: queries read the default client's collections, or the active session's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeAlias

from textual.containers import VerticalScroll
from textual.message_pump import MessagePump
from textual.widgets import DataTable
from typing_extensions import TypeVar

from ._collections.client import DbClient, current_client
from ._collections.subscription import Change
from ._live.keyed import KeyedList, Step
from ._live.live_query import LiveQuery, live_query
from .rows import get

if TYPE_CHECKING:
    from textual.widget import Widget
    from textual.widgets.data_table import RowKey

    from ._base.relation import LiveSource
    from ._base.snapshot import Rows
    from .query import QueryBuilder

__all__ = ["LiveList", "LiveMixin", "LiveTable"]

Out = TypeVar("Out")
T = TypeVar("T", default=Any)

Shown: TypeAlias = "LiveSource[Out] | Callable[[QueryBuilder], LiveSource[Out]]"
"""What can be shown: a query, a collection, a scope, or a function that builds one."""


class LiveMixin(MessagePump):
    """Lets a widget, screen or app follow live queries until it is unmounted.

    Call its methods in ``on_mount`` or later. What they are given is called by the widget's own message loop, one call
    at a time, so it may do whatever a handler of a message may do.
    """

    _live_queries: tuple[LiveQuery[Any], ...] = ()

    def show_live(self, query: Shown[Out], show: Callable[[Out], object], /) -> LiveQuery[Out]:
        """Call `show` with the result, soon and after each change. Results that are outdated by then are skipped.

        Returns:
            The live query, for example to move its window or to close it.

        Raises:
            QueryError: the query cannot be built.
        """
        live = self._follow(query)
        is_due = False

        def present() -> None:
            nonlocal is_due
            is_due = False
            if live in self._live_queries:
                show(live.get())

        def changed() -> None:
            nonlocal is_due
            if not is_due:
                is_due = self.call_later(present)

        live.subscribe(changed)
        changed()
        return live

    def follow_live(
        self, query: Shown[Rows[T]], apply: Callable[[Sequence[Change[T, Any]]], object], /
    ) -> LiveQuery[Rows[T]]:
        """Call `apply` with the rows that are there, as inserts, and then with the changes of each batch.

        See `LiveQuery.subscribe_changes` for their order.

        Raises:
            QueryError: the query cannot be built.
        """
        live = self._follow(query)
        live.subscribe_changes(lambda changes: self.call_later(apply, changes), include_initial_state=True)
        return live

    def _follow(self, query: Shown[Out]) -> LiveQuery[Out]:
        live = live_query(query, client=self.live_client())
        self._live_queries = (*self._live_queries, live)
        return live

    def live_client(self) -> DbClient:
        """Return whose collections are read. Override it where that is another client than the active one."""
        return current_client()

    # Textual calls the handlers of every class of a widget, so that a widget's own `on_unmount` does not hide this.
    async def on_unmount(self) -> None:
        """Let the queries go."""
        for live in self._live_queries:
            live.close()
        self._live_queries = ()


class LiveTable(LiveMixin, DataTable[Any], Generic[T]):
    """A table of a live query's rows. A change touches its row only; the cursor stays on the row where it was.

    Args:
        query: what to show, in its order.
        columns: for each label a column's name, or a function that returns the cell for a row.
        others: as for `DataTable`.
    """

    def __init__(
        self, query: Shown[Rows[T]], columns: Mapping[str, str | Callable[[T], object]], /, **others: Any
    ) -> None:
        super().__init__(**others)
        self._query: Shown[Rows[T]] = query
        self._columns = [(label, _reader(cell)) for label, cell in columns.items()]
        self._list = KeyedList[T]()
        self._row_keys: dict[Any, RowKey] = {}
        self._values: dict[Any, T] = {}

    @property
    def selected(self) -> T | None:
        """The row under the cursor, or None where the table is empty."""
        key = self._key_at_cursor()
        return self._values.get(key)

    def on_mount(self) -> None:
        """Begin to follow the query."""
        for number, (label, _) in enumerate(self._columns):
            self.add_column(label, key=str(number))
        self.follow_live(self._query, self._apply)

    def _apply(self, changes: Sequence[Change[T, Any]]) -> None:
        at, key = self.cursor_row, self._key_at_cursor()
        is_sorted = True
        for step in self._list.apply(changes):
            is_sorted &= self._do(step)
        if not is_sorted:
            self._sort()
        if key in self._row_keys:
            at = self.get_row_index(self._row_keys[key])
        if self.row_count:
            self.move_cursor(row=min(at, self.row_count - 1), animate=False, scroll=False)

    def _do(self, step: Step[T]) -> bool:
        """Do a step, and tell whether the row is where it belongs."""
        cells = [read(step.row) for _, read in self._columns]
        match step.type:
            case "remove":
                self.remove_row(self._row_keys.pop(step.key))
                del self._values[step.key]
                return True
            case "insert":
                self._row_keys[step.key] = self.add_row(*cells)
                is_there = self.row_count == 1
            case "update" | "move":
                for number, cell in enumerate(cells):
                    if self.get_cell(self._row_keys[step.key], str(number)) != cell:
                        self.update_cell(self._row_keys[step.key], str(number), cell, update_width=True)
                is_there = step.type == "update"
        self._values[step.key] = step.row
        return is_there

    def _sort(self) -> None:
        """Bring the rows into the order of the query. The table can only sort, and tells a key's function the cells."""
        ranks = {self._row_keys[key]: rank for rank, key in enumerate(self._list.keys)}
        in_turn = iter([ranks[row_key] for row_key in self.rows])
        self.sort(key=lambda _: next(in_turn))

    def _key_at_cursor(self) -> Any:
        return self._list.keys[self.cursor_row] if self.cursor_row < len(self._list.keys) else None


class LiveList(LiveMixin, VerticalScroll, Generic[T]):
    """A list of widgets, one for each row of a live query. What did not change keeps its widget, and its focus.

    Args:
        query: what to show, in its order.
        make: returns the widget for a row; called again when the row changed, unless the widget has a method
            ``show_row(row)``, which then is called instead.
        others: as for `VerticalScroll`.
    """

    def __init__(self, query: Shown[Rows[T]], make: Callable[[T], Widget], /, **others: Any) -> None:
        super().__init__(**others)
        self._query: Shown[Rows[T]] = query
        self._make = make
        self._list = KeyedList[T]()
        self._items: dict[Any, Widget] = {}

    def on_mount(self) -> None:
        """Begin to follow the query."""
        self.follow_live(self._query, self._apply)

    async def _apply(self, changes: Sequence[Change[T, Any]]) -> None:
        for step in self._list.apply(changes):
            before = self._items.get(step.before) if step.before is not None else None
            match step.type:
                case "remove":
                    await self._items.pop(step.key).remove()
                case "insert":
                    item = self._items[step.key] = self._make(step.row)
                    await self.mount(item, before=before)
                case "update":
                    await self._show(step)
                case "move":
                    item = await self._show(step)
                    if before is not None:
                        self.move_child(item, before=before)
                    elif self.children[-1] is not item:
                        self.move_child(item, after=self.children[-1])

    async def _show(self, step: Step[T]) -> Widget:
        item = self._items[step.key]
        show: Callable[[T], object] | None = getattr(item, "show_row", None)
        if show is not None:
            show(step.row)
            return item
        made = self._items[step.key] = self._make(step.row)
        await self.mount(made, before=item)
        await item.remove()
        return made


def _reader(cell: str | Callable[[T], object]) -> Callable[[T], object]:
    if isinstance(cell, str):
        return lambda row: get(row, cell)
    return cell
