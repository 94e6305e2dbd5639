"""The register: which test holds which behaviour.

"f.2" numbers the forty behaviours that every port of TanStack DB should have, "g" what people complain about most.
Behaviours 3 and 14 are replaced by what is said here. A test that is named here says the number itself, in its name
(``test_12_...``), in a comment or in its docstring.

====== ==================================================================== ============================================
f.2    behaviour                                                            tests
====== ==================================================================== ============================================
1      rows committed before ``mark_ready`` are readable at once            test_sync::test_1_*
2      writing or committing without ``begin`` is an error                  test_sync::test_2_*
3      a sync insert of a known key: equal is silent, else an error         test_sync::test_3_*
4      a partial sync update keeps other columns, a full one drops them     test_sync::test_4_*
5      a sync delete needs only the key; an unknown one changes nothing     test_sync::test_5_*
6      reading never starts a source; subscribing and writing do, once      test_sync::test_6_*
7      gc after the last subscriber, and when not                           test_sync::test_7_*
8      a restart is a fresh run, and the old one is inert                   test_sync::test_8_*
9      preloads share one run and its error                                 test_sync::test_9_*
10     an optimistic write is visible before the call returns               test_optimistic::test_10_*
11     a failing handler restores what was visible, and is the error        test_optimistic::test_11_*
12     a row synced by the handler is one update                            test_optimistic::test_12_*
13     without a synced row it reverts                                      test_optimistic::test_13_*
14     a sync is held only for the rows that a persisting transaction has   test_optimistic::test_14_*
15     a pending transaction delays no sync and stays above it              test_optimistic::test_15_*
16     what a rollback takes along                                          test_optimistic::test_16_*
17     mutations of one key merge                                           test_transactions::test_17_*
18     a temporary key is one row at every moment                           test_optimistic::test_18_*
19     a truncate is one batch under unsettled writes                       test_optimistic::test_19_*
20     ``optimistic=False`` shows nothing                                   test_optimistic::test_20_*
21     a key at most once in a batch, an unchanged row not at all           test_subscriptions::test_21_*
22     a filter turns entering and leaving into insert and delete           test_subscriptions::test_22_*
23     a failing subscriber hides and undoes nothing                        test_subscriptions::test_23_*
24     pending writes are told, and that they are no longer                 test_optimistic::test_24_*
25     bad keys are refused before anything changes                         test_optimistic::test_25_*
26     defaults on insert; an update sends only what changed                test_optimistic::test_26_*
27     a live query runs once per batch and never shows half of one         test_live_behaviours::*, test_behaviours::*
28     a live query is a source through updates, gc and new subscribers     test_live::*, test_fresh_oracle::*
29     comparisons with null are unknown                                    test_live_behaviours::*
30     nulls first, ties by key, whatever the order of arrival              test_live_behaviours::*
31     a window pulls in the next row; what is outside is silent            test_live_behaviours::*
32     a moved window is that of a fresh query                              test_windows::*
33     a left join: unmatched row, match, and back                          test_live_behaviours::*
34     a condition on the right side of a left join; the anti-join          test_live_behaviours::*
35     an updated join key moves the row in one batch                       test_live_behaviours::*
36     groups come, change and go; ``having`` takes whole groups            test_live_behaviours::*
37     ``distinct`` keeps a value until its last row is gone                test_ivm_distinct::*, test_query_unions::*
38     nested lists update at any depth, ordered and cut per parent         test_query_includes::*
39     ready when all sources are; rows earlier; errors                     test_live::*
40     random histories equal an evaluation from scratch                    test_live_oracle::*, test_sqlite_oracle::*
====== ==================================================================== ============================================

====== ==================================================================== ============================================
g      complaint, turned around                                             tests
====== ==================================================================== ============================================
1      a temporary id shows one row, with one identity                      test_behaviours::*
2      a local write holds up no other row                                  test_behaviours::*
3      a value does not jump back during quick edits                        test_query_collection::*, test_behaviours::*
4      readiness and rows come together, without an empty flash             test_behaviours::*
5      errors of sources are seen, and recovered from                       test_live::*
6      nothing that is needed is collected                                  test_behaviours::*
7      nothing is kept that nobody needs                                    test_behaviours::*, test_sync::*
8      a change costs the same among many rows and many queries             test_work_oracle::*
9      a join never scans, and needs no index made by hand                  test_work_oracle::*
10     windows stay full after deletes, with ties, with absent values       test_paging::*, test_behaviours::*
11     conditions below outer joins lose and invent no rows                 test_sqlite_oracle::*, test_behaviours::*
12     joined rows have keys of their own and keep them                     test_changes::*, test_behaviours::*
13     nested lists are never stale                                         test_query_includes::*, test_fresh_oracle::*
14     a push source needs no refetch after each write                      test_query_collection::*
15     equal demands are asked for once, and leave no ghosts                test_demand::*, test_live_demand::*
====== ==================================================================== ============================================
"""

from __future__ import annotations

import ast
import asyncio
import gc
import re
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pytest_asyncio

from tanstack_db import (
    Change,
    Collection,
    DbClient,
    LiveQuery,
    LiveSource,
    QueryBuilder,
    Transaction,
    col,
    collection_options,
    live_query,
)
from tanstack_db.testing import ManualSource, settle

Row: TypeAlias = dict[str, Any]
V = TypeVar("V")

HERE = Path(__file__).parent


# -- the register ------------------------------------------------------------------------------------------------------


def register() -> Iterator[tuple[str, int, str]]:
    """Each entry of the tables above: "f.2" or "g", the number, the tests."""
    part = ""
    for line in (__doc__ or "").splitlines():
        if found := re.match(r"(f\.2|g) ", line):
            part = found[1]
        elif found := re.match(r"(\d+) +.* {2,}(\S.*)$", line):
            for tests in found[2].split(", "):
                yield part, int(found[1]), tests


def named(module: str) -> dict[str, str]:
    """The source of each test of a module, with the comment behind its name."""
    text = (HERE / f"{module}.py").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
            found[node.name] = "\n".join(lines)
    return found


def says(part: str, number: int, name: str, source: str) -> bool:
    """Whether a test says that it holds a behaviour: by its name, or as ``f.2 27-36, 40`` or ``g 10``."""
    if part == "f.2" and name.startswith(f"test_{number}_"):
        return True
    for mention in re.findall(rf"\b{re.escape(part)} ((?:\d+(?:-\d+)?(?:, )?)+)", source):
        for span in re.findall(r"(\d+)(?:-(\d+))?", mention):
            if int(span[0]) <= number <= int(span[1] or span[0]):
                return True
    return False


def test_every_behaviour_has_its_tests() -> None:
    entries = list(register())

    assert {number for part, number, _ in entries if part == "f.2"} == set(range(1, 41))
    assert {number for part, number, _ in entries if part == "g"} == set(range(1, 16))
    missing = [
        (part, number, tests)
        for part, number, tests in entries
        for module in [tests.split("::")[0]]
        if not any(says(part, number, name, source) for name, source in named(module).items())
    ]
    assert missing == []


# -- behaviours of several parts together ------------------------------------------------------------------------------


class World:
    """Items and notes, their sources, and handlers that wait for an answer."""

    def __init__(self) -> None:
        self.client = DbClient(on_error=lambda _: None)
        self.item_source, self.note_source = ManualSource[Row, Any](), ManualSource[Row, Any]()
        self.calls: list[tuple[Transaction[Row], Callable[[object], None]]] = []
        self.items = self.table("items", self.item_source)
        self.notes = self.table("notes", self.note_source)

    def table(self, name: str, source: ManualSource[Row, Any], *, gc_time: float = 300) -> Collection[Row, Any]:
        return self.client.build(
            collection_options(
                id=name,
                get_key=lambda row: row["id"],
                sync=source,
                on_insert=self.server,
                on_update=self.server,
                gc_time=gc_time,
            )
        )

    async def server(self, transaction: Transaction[Row]) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.calls.append((transaction, answer.set_result))
        return await answer

    def live(self, query: LiveSource[V] | Callable[[QueryBuilder], LiveSource[V]]) -> LiveQuery[V]:
        made = live_query(query, client=self.client)
        made.subscribe(lambda: None)
        return made


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.client.close()


def matching(item: Any, note: Any) -> Any:
    return item["id"] == note["item"]


async def test_a_rollback_of_two_collections_is_one_batch(world: World) -> None:  # f.2 27
    """Neither collection's subscriber nor a query over both sees the one undone and the other not."""
    world.live(world.items)
    world.live(world.notes)
    world.item_source.write({"id": 1, "n": 0})
    world.note_source.write({"id": 1, "item": 1, "n": 0})
    pairs = world.live(lambda q: q.from_(world.items).inner_join(world.notes, on=matching))
    seen: list[Any] = []

    def look() -> None:
        (pair,) = pairs.get()
        seen.append((pair[0]["n"], pair[1]["n"], world.items.get(1), world.notes.get(1)))

    for told in (pairs.subscribe, world.live(world.items).subscribe, world.live(world.notes).subscribe):
        told(look)
    told_directly: list[Any] = []
    world.items.subscribe_changes(lambda _: told_directly.append(pairs.get()[0][1]["n"]))

    tx = world.client.create_transaction(forever)
    with world.client.batch():
        tx.update(world.items, 1, n=5)
        tx.update(world.notes, 1, n=5)
    tx.rollback()

    before = (0, 0, {"id": 1, "n": 0}, {"id": 1, "item": 1, "n": 0})
    during = (5, 5, {"id": 1, "n": 5}, {"id": 1, "item": 1, "n": 5})
    assert seen == [during] * 3 + [before] * 3
    assert told_directly == [5, 0]


async def forever() -> None:
    raise AssertionError("it is rolled back before anybody is asked")


async def test_a_temporary_id_is_one_row_in_every_query(world: World) -> None:  # g 1, f.2 18
    world.live(world.items)
    ordered = world.live(lambda q: q.from_(world.items).where(lambda item: item["n"] > 0).order_by("n"))
    lengths: list[int] = []
    ordered.subscribe(lambda: lengths.append(len(ordered.get())))

    world.items.insert({"id": "temp", "n": 1})
    await settle()
    world.item_source.write({"id": "other", "n": 2})  # something else happens meanwhile
    world.calls[0][1]({"id": "real", "n": 1})
    await settle()

    assert lengths == [1, 2, 2]
    assert [row["id"] for row in ordered.get()] == ["real", "other"]


async def test_a_local_write_holds_up_no_other_row(world: World) -> None:  # g 2
    everything = world.live(world.items)
    world.item_source.write({"id": 1, "n": 0}, {"id": 2, "n": 0})
    world.items.update(1, n=1)
    await settle()

    world.item_source.write({"id": 1, "n": 9}, {"id": 2, "n": 9})

    assert list(everything.get()) == [{"id": 1, "n": 1}, {"id": 2, "n": 9}]


async def test_a_value_does_not_jump_back_during_quick_edits(world: World) -> None:  # g 3
    query = world.live(world.items)
    world.item_source.write({"id": 1, "text": ""})
    shown: list[str] = []
    query.subscribe(lambda: shown.append(query.get()[0]["text"]))

    for text in ("a", "ab", "abc"):
        world.items.update(1, text=text)
        await settle()
    for (transaction, answer), text in zip(list(world.calls), ("a", "ab", "abc"), strict=True):
        world.item_source.write({"id": 1, "text": text})  # the echo comes before the answer
        answer(transaction.mutations[0].modified)
        await settle()

    assert shown == ["a", "ab", "abc"]


async def test_rows_and_readiness_come_together(world: World) -> None:  # g 4
    source = ManualSource[Row, Any](ready=False)
    query = world.live(world.table("late", source))
    seen: list[tuple[bool, int]] = []
    query.subscribe(lambda: seen.append((query.is_ready, len(query.get()))))

    with world.client.batch():
        source.write({"id": 1})
        source.ctx.mark_ready()
    source.write({"id": 1}, truncate=True)  # a reset that changes nothing is no flash

    assert seen == [(True, 1)]


async def test_what_a_query_reads_is_not_collected(world: World) -> None:  # g 6
    source = ManualSource[Row, Any]([{"id": 1}])
    table = world.table("short", source, gc_time=1.0)
    query = world.live(lambda q: q.from_(q.from_(table).where(lambda row: row["id"] == 1)).limit(5))
    table.subscribe_changes(lambda _: None)()

    await asyncio.sleep(3600)
    assert list(query.get()) == [{"id": 1}]
    assert source.stops == 0

    query.close()
    await asyncio.sleep(60)
    assert source.stops == 1


async def test_a_query_that_nobody_needs_leaves_nothing_behind(world: World) -> None:  # g 7
    world.live(world.items)
    world.item_source.write(*({"id": number, "n": number} for number in range(20)))
    await asyncio.sleep(0)
    before = dict(world.items.shared)
    gone: list[weakref.ref[object]] = []
    for number in range(20):
        query = world.live(made_of(world, number))
        gone.append(weakref.ref(query._result))
        query.close()
        del query
    await asyncio.sleep(60)
    gc.collect()

    assert [ref() for ref in gone] == [None] * 20
    assert world.items.shared == before


def made_of(world: World, number: int) -> Any:
    """A query with an index, an order, a join and a list."""
    return (
        QueryBuilder()
        .from_(world.items)
        .where(lambda item: item["n"] == number)
        .join(world.notes, on=matching)
        .order_by(lambda item, note: item["n"])
        .limit(5)
    )


async def test_a_window_stays_full_with_ties_and_absent_values(world: World) -> None:  # g 10
    world.live(world.items)
    world.item_source.write({"id": 1, "n": 1}, {"id": 2, "n": 1}, {"id": 3}, {"id": 4, "n": None}, {"id": 5, "n": 1})
    window = world.live(lambda q: q.from_(world.items).order_by("n", "desc", nulls="last").limit(3))
    ids: list[list[int]] = []
    window.subscribe(lambda: ids.append([row["id"] for row in window.get()]))

    for gone in (2, 1, 5, 3, 4):
        world.item_source.write(delete=[gone])

    assert ids == [[1, 5, 3], [5, 3, 4], [3, 4], [4], []]


def has_no_text(item: Any, note: Any) -> Any:
    return col(note["text"]).is_none()


def says_something_else(item: Any, note: Any) -> Any:
    return note["text"] != "x"


async def test_a_condition_beside_an_outer_join_invents_no_rows(world: World) -> None:  # g 11
    world.live(world.items)
    world.live(world.notes)
    world.item_source.write({"id": 1}, {"id": 2})
    world.note_source.write({"id": 7, "item": 1, "text": "x"})
    joined = QueryBuilder().from_(world.items).join(world.notes, on=matching)
    without, not_x = world.live(joined.where(has_no_text)), world.live(joined.where(says_something_else))

    assert [item["id"] for item, _ in without.get()] == [2]
    assert list(not_x.get()) == []


async def test_a_joined_row_has_a_key_of_its_own(world: World) -> None:  # g 12
    """Rows that share a part do not collapse, and a change of a part is one update."""
    world.live(world.items)
    world.live(world.notes)
    world.item_source.write({"id": 1, "n": 0})
    world.note_source.write({"id": 7, "item": 1}, {"id": 8, "item": 1})
    pairs = world.live(lambda q: q.from_(world.items).join(world.notes, on=matching))
    told: list[Change[Any, Any]] = []
    pairs.subscribe_changes(told.extend)

    world.item_source.write({"id": 1, "n": 1})

    assert [(change.type, change.key) for change in told] == [("update", (1, 7)), ("update", (1, 8))]
