"""The Textual binding, in running apps without a terminal."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Input, Static

from tanstack_db import (
    Change,
    Collection,
    DbClient,
    LiveSource,
    Rows,
    collection_options,
    count,
)
from tanstack_db.query import QueryBuilder
from tanstack_db.testing import ManualSource
from tanstack_db.textual import LiveList, LiveMixin, LiveTable

Row = dict[str, Any]


class Data:
    def __init__(self, *rows: Row) -> None:
        self.client = DbClient()
        self.source = ManualSource[Row, int](rows)
        self.table: Collection[Row, int] = self.client.build(
            collection_options(id="t", get_key=lambda row: row["id"], sync=self.source)
        )

    def ordered(self, q: QueryBuilder) -> LiveSource[Rows[Row]]:
        return q.from_(self.table).order_by("n")


@pytest.fixture
def data() -> Data:
    return Data({"id": 1, "n": 10}, {"id": 2, "n": 20}, {"id": 3, "n": 30})


@asynccontextmanager
async def running(data: Data, make: Callable[[], Widget]) -> AsyncGenerator[Pilot[None]]:
    """An app with one widget, in a session of its own."""

    class Shown(App[None]):
        def compose(self) -> ComposeResult:
            yield make()

    with data.client.activate():
        async with Shown().run_test() as pilot:
            await pilot.pause()
            yield pilot
    await data.client.close()


def cells(table: LiveTable[Row]) -> list[list[Any]]:
    return [table.get_row_at(index) for index in range(table.row_count)]


# -- the mixin ---------------------------------------------------------------------------------------------------------


class Counter(LiveMixin, Static):
    def __init__(self, data: Data) -> None:
        super().__init__()
        self.data, self.shown, self.changes = data, list[int](), list[list[str]]()

    def on_mount(self) -> None:
        self.show_live(lambda q: q.from_(self.data.table).aggregate(lambda t: count()), self.shown.append)
        self.follow_live(self.data.ordered, self.follow)

    def follow(self, changes: Sequence[Change[Row, Any]]) -> None:
        self.changes.append([f"{change.type} {change.key}" for change in changes])


async def test_a_widget_shows_results_and_follows_changes_until_it_is_removed(data: Data) -> None:
    widget = Counter(data)
    async with running(data, lambda: widget) as pilot:
        assert widget.shown == [3]
        assert widget.changes == [["insert 1", "insert 2", "insert 3"]]
        data.source.write({"id": 4, "n": 0})
        data.source.write(delete=[1])
        await pilot.pause()
        # Results come once for what happened before the widget had its turn; changes come one batch after the other.
        assert widget.shown == [3, 3]
        assert widget.changes[1:] == [["insert 4"], ["delete 1"]]
        await widget.remove()
        data.source.write({"id": 5, "n": 0})
        await pilot.pause()
        assert (len(widget.shown), len(widget.changes)) == (2, 3)


# -- the table ---------------------------------------------------------------------------------------------------------


async def test_a_table_follows_inserts_updates_moves_and_deletes(data: Data) -> None:
    table = LiveTable[Row](data.ordered, {"Id": "id", "Twice": lambda row: row["n"] * 2})
    async with running(data, lambda: table) as pilot:
        assert [str(column.label) for column in table.ordered_columns] == ["Id", "Twice"]
        assert cells(table) == [[1, 20], [2, 40], [3, 60]]
        data.source.write({"id": 4, "n": 15}, {"id": 1, "n": 40}, {"id": 3, "n": 31}, delete=[2])
        await pilot.pause()
        assert cells(table) == [[4, 30], [3, 62], [1, 80]]


async def test_the_cursor_stays_on_its_row(data: Data) -> None:
    table = LiveTable[Row](data.ordered, {"Id": "id"})
    async with running(data, lambda: table) as pilot:
        await pilot.press("down")
        assert table.selected == {"id": 2, "n": 20}
        data.source.write({"id": 4, "n": 1}, {"id": 2, "n": 25})
        await pilot.pause()
        assert table.selected == {"id": 2, "n": 25}
        assert table.cursor_row == 2
        data.source.write({"id": 2, "n": 99})
        await pilot.pause()
        assert table.selected == {"id": 2, "n": 99}
        data.source.write(delete=[2])
        await pilot.pause()
        assert table.selected == {"id": 3, "n": 30}


async def test_an_empty_table_has_nothing_selected(data: Data) -> None:
    table = LiveTable[Row](lambda q: q.from_(data.table).where(lambda t: t["n"] < 0), {"Id": "id"})
    async with running(data, lambda: table):
        assert table.selected is None


# -- the list ----------------------------------------------------------------------------------------------------------


class Item(Input):
    """Keeps its place, its focus and what was typed while the row changes."""

    def __init__(self, row: Row) -> None:
        super().__init__(placeholder=str(row["id"]))

    def show_row(self, row: Row) -> None:
        self.placeholder = f"{row['id']} again"


async def test_a_list_keeps_the_widgets_of_rows_that_stay(data: Data) -> None:
    shown = LiveList[Row](data.ordered, Item)
    async with running(data, lambda: shown) as pilot:
        first, second, third = shown.query(Item)
        second.focus()
        second.value = "typed"
        data.source.write({"id": 2, "n": 99}, {"id": 4, "n": 15}, delete=[3])
        await pilot.pause()
        items = list(shown.query(Item))
        assert [item.placeholder for item in items] == ["1", "4", "2 again"]
        assert items[0] is first
        assert items[2] is second
        assert second.has_focus
        assert second.value == "typed"
        assert not third.is_attached


async def test_a_list_makes_a_widget_anew_where_it_cannot_show_the_row(data: Data) -> None:
    shown = LiveList[Row](data.ordered, lambda row: Static(f"{row['id']}: {row['n']}"))
    async with running(data, lambda: shown) as pilot:
        data.source.write({"id": 2, "n": 21}, {"id": 1, "n": 40})
        await pilot.pause()
        assert [str(item.content) for item in shown.query(Static)] == ["2: 21", "3: 30", "1: 40"]
