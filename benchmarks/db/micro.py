"""Microseconds per change of each stage, at several numbers of rows.

Each figure is the minimum and the median over rounds of 1,000 changes each, one batch per change, of rows that are
dicts. The garbage collector stays on, as in an application. The first line is a plain dict that is told the same: what
the machine gives right now.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

from tanstack_db._base.delta import Delta, Deltas
from tanstack_db._base.ir import AggregateCall, Call, Const, ExprIR, OrderIR, Ref
from tanstack_db.ivm._filter import Filter
from tanstack_db.ivm._group import Group
from tanstack_db.ivm._join import Join, match_on
from tanstack_db.ivm._order import Order
from tanstack_db.query._compile import predicate, sort_key, value

ROUNDS, CHANGES = 15, 1_000

Row = dict[str, Any]
Make = Callable[[], tuple[Callable[[Deltas], object], Callable[[Deltas], object]]]


def column(name: str) -> Ref:
    return Ref(0, (name,))


def read(name: str) -> Callable[[Any], Any]:
    return value(column(name), sources=1, accessors=["item"])


CONDITION: tuple[ExprIR, ...] = (
    Call("eq", (column("open"), Const(True))),
    Call("gt", (column("rank"), Const(-1))),
    Call("ne", (column("text"), Const("x"))),
)


def filtered() -> Any:
    stage = Filter(predicate(CONDITION, sources=1, accessors=["item"]))
    return stage.push, stage.push


def rejected() -> Any:
    stage = Filter(predicate([Call("eq", (column("open"), Const("no")))], sources=1, accessors=["item"]))
    return stage.push, stage.push


def ordered(limit: int | None, name: str, *, desc: bool = False, is_indexed: bool = False) -> Any:
    def make() -> Any:
        terms = [OrderIR(column(name), desc=desc)]
        stage = Order(sort_key(terms, sources=1, accessors=["item"]), limit=limit)

        def change(deltas: Deltas) -> object:
            stage.push(deltas)
            return stage.index(deltas[0][0])

        return stage.push, change if is_indexed else stage.push

    return make


def grouped(*functions: Any) -> Any:
    def make() -> Any:
        by, rank = read("group"), read("rank")
        calls = [(AggregateCall(function), rank) for function in functions]
        stage = Group(lambda row: (by(row),), calls, lambda keys, values: (*keys, *values), is_total=False)
        return stage.push, stage.push

    return make


def joined(kind: Any, side: str) -> Any:
    def make() -> Any:
        stage = Join(kind, match_on([read("group")]), match_on([read("id")]))
        parents: list[Delta] = [(n, None, {"id": n}) for n in range(10_000)]

        def load(deltas: Deltas) -> object:
            return stage.push(deltas, parents)

        def left(deltas: Deltas) -> object:
            return stage.push(deltas, [])

        def right(deltas: Deltas) -> object:
            # One parent with its ten rows.
            number: int = deltas[0][0] % 10_000
            old = parents[number][2]
            new = {"id": number, "rank": deltas[0][2]["rank"]}
            parents[number] = (number, None, new)
            return stage.push([], [(number, old, new)])

        return load, left if side == "left" else right

    return make


def plain_dict() -> Any:
    rows: dict[Any, Any] = {}

    def push(deltas: Deltas) -> None:
        rows.update((key, new) for key, _, new in deltas)

    return push, push


STAGES: dict[str, Make] = {
    "a plain dict": plain_dict,
    "filter, 3 terms, passes": filtered,
    "filter, rejected": rejected,
    "order by int": ordered(None, "rank"),
    "order by int + position": ordered(None, "rank", is_indexed=True),
    "order by text desc": ordered(None, "text", desc=True),
    "window of 50, random change": ordered(50, "rank"),
    "group count+sum": grouped("count", "sum"),
    "group min+max": grouped("min", "max"),
    "inner join, many side": joined("inner", "left"),
    "left join, many side": joined("left", "left"),
    "left join, one side (n/10k matches)": joined("left", "right"),
}


def row(number: int, rank: int) -> Row:
    return {"id": number, "group": number % 10_000, "rank": rank, "open": True, "text": f"text {rank}"}


def measure(make: Make, size: int) -> tuple[float, float, float]:
    chance = random.Random(size)
    load, push = make()
    rows = [row(number, chance.randrange(size)) for number in range(size)]
    initial: list[Delta] = [(number, None, each) for number, each in enumerate(rows)]
    started = perf_counter()
    load(initial)
    first = perf_counter() - started
    rounds: list[float] = []
    for _ in range(ROUNDS):
        batches: list[list[Delta]] = []
        for _ in range(CHANGES):
            number = chance.randrange(size)
            new = row(number, chance.randrange(size))
            batches.append([(number, rows[number], new)])
            rows[number] = new
        started = perf_counter()
        for batch in batches:
            push(batch)
        rounds.append((perf_counter() - started) / CHANGES)
    return min(rounds) * 1e6, median(rounds) * 1e6, first * 1e3


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or [1_000, 100_000]
    print(f"{'us per change, min / median (first run, ms)':44}", *(f"{size:>24,}" for size in sizes))
    for name, make in STAGES.items():
        figures = [measure(make, size) for size in sizes]
        print(f"{name:44}", *(f"{low:8.2f} / {mid:5.2f} ({first:6.1f})" for low, mid, first in figures))


if __name__ == "__main__":
    main()
