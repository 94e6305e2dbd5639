"""A list that follows a live query row by row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_db import Change, DbClient, collection_options, live_query
from tanstack_db._live.keyed import KeyedList, Step
from tanstack_db.testing import ManualSource

Row = dict[str, Any]


class Widget:
    """Keeps its children as a user interface does: by reference to the child that comes after."""

    def __init__(self) -> None:
        self.children: list[tuple[Any, Row]] = []
        self.steps: list[Step[Row]] = []

    def do(self, step: Step[Row]) -> None:
        self.steps.append(step)
        keys = [key for key, _ in self.children]
        if step.type == "insert":
            assert step.key not in keys
        else:
            at = keys.index(step.key)
            if step.type == "update":
                self.children[at] = (step.key, step.row)
                return
            del self.children[at]
            del keys[at]
        if step.type != "remove":
            at = len(keys) if step.before is None else keys.index(step.before)
            self.children.insert(at, (step.key, step.row))


batches = st.lists(
    st.lists(st.tuples(st.integers(1, 6), st.one_of(st.none(), st.integers(0, 4))), max_size=5), max_size=8
)


@pytest.mark.parametrize("is_ordered", [True, False])
@given(history=batches)
async def test_the_list_is_the_result_after_every_batch(is_ordered: bool, history: Any) -> None:
    """Kills: placing rows from the first to the last; taking a moved row for one that stayed."""
    client, source = DbClient(), ManualSource[Row, int]()
    table = client.build(collection_options(id="t", get_key=lambda row: row["id"], sync=source))
    query = live_query(lambda q: q.from_(table).order_by("n").limit(4) if is_ordered else q.from_(table), client=client)
    keyed, widget = KeyedList[Row](), Widget()

    def follow(changes: Any) -> None:
        for step in keyed.apply(changes):
            widget.do(step)

    query.subscribe_changes(follow, include_initial_state=True)
    for batch in history:
        rows = dict(batch)
        source.write(
            *({"id": key, "n": n} for key, n in rows.items() if n is not None),
            delete=[key for key, n in rows.items() if n is None and table.get(key) is not None],
        )
        shown = [row for _, row in widget.children]
        expected = list(query.get())
        assert shown == expected if is_ordered else sorted(map(str, shown)) == sorted(map(str, expected))
        assert [key for key, _ in widget.children] == keyed.keys
    query.close()
    await client.close()


def test_a_row_that_keeps_its_place_is_only_updated() -> None:
    keyed = KeyedList[str]()
    keyed.apply([Change("insert", key, key, index=index) for index, key in enumerate("abc")])
    assert keyed.apply([Change("update", "b", "B", "b", index=1)]) == [Step("update", "b", "B")]
    assert keyed.apply([Change("delete", "a", "a"), Change("update", "c", "C", "c", index=1)]) == [
        Step("remove", "a", "a"),
        Step("update", "c", "C"),
    ]
    assert keyed.apply([Change("update", "c", "C", "C", index=0)]) == [Step("move", "c", "C", "b")]
