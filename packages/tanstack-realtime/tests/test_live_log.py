"""The rows of live channels: order, bound, history, pages."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_realtime._errors import MessageError, RealtimeError
from tanstack_realtime._live_log import LiveLog, LogChange


@dataclass(frozen=True)
class Line:
    id: int
    room: str = "a"
    text: str = ""


class Codec:
    def key(self, row: Line, /) -> int:
        return row.id

    def scope(self, row: Line, /) -> str:
        return row.room


class Screen:
    """What a collection shows when it is told every change."""

    def __init__(self, max_items: int = 100) -> None:
        self.log: LiveLog[Line, int] = LiveLog(Codec(), max_items=max_items)
        self.log.open("a")
        self.rows: dict[int, Line] = {}

    def take(self, change: LogChange[Line, int]) -> None:
        assert not {row.id for row in change.rows} & set(change.removed)
        for key in change.removed:
            self.rows.pop(key, None)
        self.rows.update({row.id: row for row in change.rows})

    def event(self, *lines: Line | int) -> None:
        for line in lines:
            self.take(self.log.append("a", line if isinstance(line, Line) else Line(line)))

    def history(self, *lines: int, during: tuple[Line | int, ...] = ()) -> None:
        mark = self.log.fetching("a")
        self.event(*during)
        self.take(self.log.merge(mark, [Line(line) for line in lines]))
        self.log.abandon(mark)

    def page(self, *lines: int) -> int:
        mark = self.log.fetching("a")
        new, change = self.log.prepend(mark, [Line(line) for line in lines])
        self.take(change)
        self.log.abandon(mark)
        return new

    @property
    def order(self) -> list[int]:
        order = list(self.log._scopes["a"].rows)
        assert set(order) == set(self.rows), "the collection shows what the log holds"
        return [int(key) for key in order]


def test_the_oldest_goes_and_a_row_that_comes_again_keeps_its_place() -> None:
    screen = Screen(max_items=3)
    screen.event(1, 2, 3, Line(1, text="edited"), 4)
    assert screen.order == [2, 3, 4]
    assert screen.log.find(Line(2, text="other")) == Line(2)
    assert screen.log.find(Line(1)) is None


def test_history_continues_what_is_known_and_does_not_regress_newer_events() -> None:  # L6
    screen = Screen()
    screen.event(3, 4)
    screen.history(2, 3, 4, 5, during=(6, Line(4, text="edited meanwhile")))
    assert screen.order == [2, 3, 5, 4, 6]
    assert screen.rows[4].text == "edited meanwhile"


def test_history_that_shares_nothing_replaces_what_is_known() -> None:  # L6
    screen = Screen()
    screen.event(1, 2)
    screen.history(8, 9, during=(10,))
    assert screen.order == [8, 9, 10]


def test_history_without_rows_says_nothing() -> None:  # L6
    screen = Screen()
    screen.event(1, 2)
    screen.history()
    assert screen.order == [1, 2]


def test_a_row_removed_while_history_was_read_does_not_come_back() -> None:
    screen = Screen()
    screen.event(1, 2)
    mark = screen.log.fetching("a")
    screen.take(screen.log.remove("a", 2))
    screen.take(screen.log.merge(mark, [Line(1), Line(2)]))
    assert screen.order == [1]


def test_pages_go_in_front_without_duplicates_and_stay() -> None:  # L6
    screen = Screen(max_items=3)
    screen.event(7, 8, 9)
    assert screen.page(4, 5, 6, 7) == 3
    assert screen.order == [4, 5, 6, 7, 8, 9]
    assert screen.log.oldest("a") == Line(4)
    assert screen.page(4, 5) == 0
    screen.event(10)
    assert screen.order == [5, 6, 7, 8, 9, 10]


def test_rows_of_another_scope_are_refused() -> None:  # Q19
    screen = Screen()
    with pytest.raises(MessageError, match="belongs to 'b'"):
        screen.event(Line(1, "b"))
    mark = screen.log.fetching("a")
    with pytest.raises(RealtimeError, match="belongs to 'b'"):
        screen.log.merge(mark, [Line(1), Line(2, "b")])
    with pytest.raises(RealtimeError, match="two rows"):
        screen.log.merge(mark, [Line(1), Line(1)])
    assert screen.order == []


def test_a_key_is_one_row_in_the_collection() -> None:
    screen = Screen()
    screen.log.open("b")
    screen.event(1)
    screen.take(screen.log.append("b", Line(1, "b")))
    assert (screen.log.count("a"), screen.log.count("b")) == (0, 1)
    screen.take(screen.log.close("a"))
    assert screen.rows == {1: Line(1, "b")}
    screen.take(screen.log.close("b"))
    assert screen.rows == {}


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("event"), st.lists(st.integers(0, 12), max_size=4)),
        st.tuples(st.just("history"), st.lists(st.integers(0, 12), unique=True, max_size=6)),
        st.tuples(st.just("page"), st.lists(st.integers(0, 12), unique=True, max_size=6)),
        st.tuples(st.just("empty"), st.just([])),
    ),
    max_size=12,
)


@given(steps=_STEPS, bound=st.integers(1, 5))
def test_the_bound_holds_and_the_collection_is_told_everything(steps: list[tuple[str, list[int]]], bound: int) -> None:
    """Kills: a `_trim` that leaves evicted rows in `change.rows`; a `prepend` that does not grow the bound."""
    screen = Screen(max_items=bound)
    paged = 0
    for what, lines in steps:
        if what == "event":
            screen.event(*lines)
        elif what == "history":
            screen.history(*lines)
        elif what == "page":
            before = len(screen.order)
            new = screen.page(*lines)
            paged += new
            assert len(screen.order) == before + new
        else:
            screen.take(screen.log.empty("a"))
            paged = 0
        assert len(screen.order) <= bound + paged
