"""Random histories of sync, optimistic writes, answers, refusals, rollbacks and truncates, against a model.

The model knows synced rows and, per open transaction and key, the row before and after. What is visible is computed
from scratch after every step.

``TANSTACK_DB_ORACLE_RUNS=20`` runs twenty times as many histories.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tanstack_db import Collection, DbClient, Transaction, Tx, collection_options
from tanstack_db._base.delta import Deltas
from tanstack_db.testing import ManualSource, VirtualClockLoop, settle

RUNS = int(os.environ.get("TANSTACK_DB_ORACLE_RUNS", "1"))

Row = dict[str, Any]
Answer = asyncio.Future[Any]

KEYS = ["a", "b", "c", "d"]
keys = st.sampled_from(KEYS)
values = st.integers(0, 2)


def make_row(key: str, x: int, y: int) -> Row:
    return {"id": key, "x": x, "y": y}


@dataclass(eq=False)
class Change:
    """What a transaction does to one row, as the model sees it."""

    before: Row | None
    after: Row | None

    @property
    def kind(self) -> str:
        if self.before is None:
            return "insert"
        return "delete" if self.after is None else "update"

    def rebase(self, below: Row | None) -> None:
        if self.kind == "update" and self.before is not None and self.after is not None and below is not None:
            changed = {name: value for name, value in self.sent.items() if value is not None}
            self.after = {**below, **changed}

    sent: Row = field(default_factory=dict[str, Any])

    def send(self) -> None:
        """Fix which columns an update changes: a rebase keeps those, whatever is below."""
        if self.before is not None and self.after is not None:
            before = self.before
            self.sent = {name: value for name, value in self.after.items() if before[name] != value}


@dataclass(eq=False)
class Open:
    """An open transaction."""

    handle: Transaction[Any]
    changes: dict[str, Change] = field(default_factory=dict[str, Change])
    answer: Answer | None = None
    after: list[Open] = field(default_factory=list["Open"])
    is_committed: bool = False


class Optimism(RuleBasedStateMachine):
    """The rows that are shown, and the deltas that are told.

    Kills: dropping a layer without looking at the ones above; holding back rows that no transaction touches; showing
    the synced row under an open transaction; publishing equal rows; handing out a key twice; a truncate that drops
    optimistic rows; leaving a temporary row beside the server's; rolling back a persisting transaction in a cascade.
    """

    @initialize()
    def start(self) -> None:
        self.loop = VirtualClockLoop()
        self.errors: list[Exception] = []
        self.synced: dict[str, Row] = {}
        self.open: list[Open] = []
        self.numbers = iter(range(1000))
        self.mirror: dict[str, Row] = {}
        self.published = 0
        self.run(self._start)

    def _start(self) -> None:
        self.client = DbClient(on_error=self.errors.append)
        self.source = ManualSource[Row, str]()
        self.rows: Collection[Row, str] = self.client.build(
            collection_options(
                id="rows",
                get_key=lambda row: str(row["id"]),
                sync=self.source,
                on_insert=self._handler,
                on_update=self._handler,
                on_delete=self._handler,
            )
        )
        self.rows.subscribe_changes(lambda _: None)
        self.rows.attach(self._sink)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run_until_complete(self.client.close())
            self.loop.close()

    def run(self, step: Callable[[], object]) -> None:
        async def once() -> None:
            self.published = 0
            step()
            await settle()

        self.loop.run_until_complete(once())

    async def _handler(self, transaction: Transaction[Any]) -> Any:
        entry = next(entry for entry in self.open if entry.handle.id == transaction.id)
        assert not entry.after, "a handler ran before the insert that its row comes from was settled"
        entry.answer = self.loop.create_future()
        return await entry.answer

    def _sink(self, deltas: Deltas) -> None:
        self.published += 1
        keys_told = [key for key, _, _ in deltas]
        assert len(set(keys_told)) == len(keys_told), "a key at most once per batch"
        for key, old, new in deltas:
            assert self.mirror.get(key) == old
            assert old != new
            if new is None:
                del self.mirror[key]
            else:
                self.mirror[key] = new

    # -- the model -----------------------------------------------------------------------------------------------------

    def visible(self, key: str, below: Open | None = None) -> Row | None:
        row = self.synced.get(key)
        for entry in self.open:
            if entry is below:
                break
            if key in entry.changes:
                row = entry.changes[key].after
        return row

    def all_visible(self) -> dict[str, Row]:
        known = {*self.synced, *(key for entry in self.open for key in entry.changes)}
        return {key: row for key in known if (row := self.visible(key)) is not None}

    def put(self, entry: Open, key: str, after: Row | None) -> None:
        change = entry.changes.get(key)
        if change is None:
            change = entry.changes[key] = Change(self.visible(key), after)
        change.after = after
        change.send()
        if change.before == change.after:
            self.undo(entry, key)

    def undo(self, entry: Open, key: str) -> None:
        """Take a change away, and what later updates of the row took over from it."""
        del entry.changes[key]
        for later in self.open[self.open.index(entry) + 1 :]:
            if key in later.changes:
                later.changes[key].rebase(self.visible(key, below=later))

    def settled(self, entry: Open) -> None:
        self.open.remove(entry)
        for other in self.open:
            if entry in other.after:
                other.after.remove(entry)

    def failed(self, entry: Open) -> None:
        if entry not in self.open:
            return
        dependent = [
            other
            for other in self.open
            if other is not entry
            and other.changes.keys() & entry.changes.keys()
            and (not other.is_committed or entry in other.after)
        ]
        for key in list(entry.changes):
            self.undo(entry, key)
        self.settled(entry)
        for other in dependent:
            self.failed(other)

    def committed(self, entry: Open) -> None:
        entry.is_committed = True
        for earlier in self.open[: self.open.index(entry)]:
            if any(key in earlier.changes and earlier.changes[key].kind == "insert" for key in entry.changes):
                entry.after.append(earlier)

    def inserted_rows(self) -> Iterator[str]:
        return (key for key in KEYS if self.visible(key) is None)

    # -- steps ---------------------------------------------------------------------------------------------------------

    @rule(data=st.data(), x=values, y=values)
    def sync(self, data: st.DataObject, x: int, y: int) -> None:
        puts = data.draw(st.sets(keys, max_size=3))
        gone = data.draw(st.sets(keys, max_size=2)) - puts
        truncate = data.draw(st.booleans()) and data.draw(st.booleans())
        if truncate:
            self.synced.clear()
        for key in gone:
            self.synced.pop(key, None)
        self.synced.update({key: make_row(key, x, y) for key in puts})
        self.run(lambda: self.source.write(*(make_row(key, x, y) for key in puts), delete=gone, truncate=truncate))
        assert self.published <= 1

    def direct(self, key: str, after: Row | None, write: Callable[[], Transaction[Any]]) -> None:
        def step() -> None:
            entry = Open(write())
            self.open.append(entry)
            self.put(entry, key, after)
            if entry.changes:
                self.committed(entry)
            else:
                assert entry.handle.state == "completed"
                self.settled(entry)

        self.run(step)
        assert self.published <= 1

    @rule(key=keys, x=values, y=values)
    def insert(self, key: str, x: int, y: int) -> None:
        if self.visible(key) is None:
            row = make_row(key, x, y)
            self.direct(key, row, lambda: self.rows.insert(row))

    @rule(key=keys, column=st.sampled_from(["x", "y"]), value=values)
    def update(self, key: str, column: str, value: int) -> None:
        row = self.visible(key)
        if row is not None:
            self.direct(key, {**row, column: value}, lambda: self.rows.update(key, **{column: value}))

    @rule(key=keys)
    def delete(self, key: str) -> None:
        if self.visible(key) is not None:
            self.direct(key, None, lambda: self.rows.delete(key))

    @rule()
    def begin(self) -> None:
        if sum(not entry.is_committed for entry in self.open) < 2:
            self.run(lambda: self.open.append(Open(self.client.create_transaction(self._server_fn))))

    async def _server_fn(self) -> object:
        waiting = [entry for entry in self.open if entry.is_committed and entry.answer is None and not entry.after]
        entry = next(entry for entry in waiting if isinstance(entry.handle, Tx))
        entry.answer = self.loop.create_future()
        return await entry.answer

    @precondition(lambda self: any(not entry.is_committed for entry in self.open))
    @rule(data=st.data(), key=keys, x=values, y=values)
    def in_transaction(self, data: st.DataObject, key: str, x: int, y: int) -> None:
        entry = data.draw(st.sampled_from([entry for entry in self.open if not entry.is_committed]))
        tx = entry.handle
        assert isinstance(tx, Tx)
        row = self.visible(key)
        if row is None:
            new = make_row(key, x, y)
            self.run(lambda: tx.insert(self.rows, new))
            self.put(entry, key, new)
        elif data.draw(st.booleans()):
            self.run(lambda: tx.update(self.rows, key, x=x))
            if row["x"] != x:
                self.put(entry, key, {**row, "x": x})
        else:
            self.run(lambda: tx.delete(self.rows, key))
            self.put(entry, key, None)

    @precondition(lambda self: any(not entry.is_committed for entry in self.open))
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from([entry for entry in self.open if not entry.is_committed]))
        tx = entry.handle
        assert isinstance(tx, Tx)
        if entry.changes:
            self.committed(entry)
        else:
            self.settled(entry)
        self.run(tx.commit)

    @precondition(lambda self: bool(self.open))
    @rule(data=st.data())
    def rollback(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.open))
        self.failed(entry)
        self.run(entry.handle.rollback)
        assert self.published <= 1, "a rollback with all that depends on it is one batch"

    def asked(self) -> list[Open]:
        return [entry for entry in self.open if entry.answer is not None]

    @precondition(lambda self: bool(self.asked()))
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.asked()))
        answer = entry.answer
        assert answer is not None
        self.failed(entry)
        self.run(lambda: answer.set_exception(ValueError("refused")))
        assert self.published <= 1

    @precondition(lambda self: bool(self.asked()))
    @rule(data=st.data(), x=values, y=values, with_row=st.booleans(), new_key=st.booleans())
    def accept(self, data: st.DataObject, x: int, y: int, with_row: bool, new_key: bool) -> None:
        entry = data.draw(st.sampled_from(self.asked()))
        answer = entry.answer
        assert answer is not None
        result: Row | None = None
        if with_row and not isinstance(entry.handle, Tx):
            ((key, change),) = entry.changes.items()
            if change.kind != "delete":
                target = f"{key}{next(self.numbers)}" if new_key and change.kind == "insert" else key
                result = make_row(target, x, y)
                self.synced[target] = result
                if target != key:
                    self.move(entry, key, target)
        self.settled(entry)
        self.run(lambda: answer.set_result(result))
        assert self.published <= 1, "the server's row replaces the optimistic one in one batch"

    def move(self, entry: Open, key: str, target: str) -> None:
        for later in self.open[self.open.index(entry) + 1 :]:
            if key in later.changes:
                if later.changes[key].kind == "insert":
                    return
                change = later.changes[target] = later.changes.pop(key)
                change.rebase(self.visible(target, below=later))
                change.before = self.synced[target]
                if change.after is not None:
                    change.send()

    # -- what holds ----------------------------------------------------------------------------------------------------

    @invariant()
    def shows_what_the_model_shows(self) -> None:
        if hasattr(self, "rows"):
            assert dict(self.rows.rows) == self.all_visible()

    @invariant()
    def deltas_add_up(self) -> None:
        if hasattr(self, "rows"):
            assert self.mirror == dict(self.rows.rows)

    @invariant()
    def transactions_are_where_the_model_has_them(self) -> None:
        if hasattr(self, "rows"):
            for entry in self.open:
                assert entry.handle.state == ("persisting" if entry.is_committed else "pending")
                assert {mutation.key: mutation.type for mutation in entry.handle.mutations} == {
                    key: change.kind for key, change in entry.changes.items()
                }


TestOptimism = Optimism.TestCase
TestOptimism.settings = settings(
    max_examples=150 * RUNS, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
