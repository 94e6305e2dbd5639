"""Paced mutations, in virtual time: shown at once, sent when the strategy says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tanstack_db import (
    DbClient,
    LocalOnlyCollection,
    NoRunningLoopError,
    PacedMutations,
    Strategy,
    Transaction,
    TransactionError,
    Tx,
    UsageError,
    create_collection,
    create_paced_mutations,
    debounce,
    local_only_collection_options,
    queue,
    throttle,
)


@dataclass(frozen=True)
class Knob:
    id: str
    value: int = 0
    label: str = ""


knobs: LocalOnlyCollection[Knob, str] = create_collection(
    local_only_collection_options(
        id="knobs", schema=Knob, get_key=lambda knob: knob.id, initial_data=[Knob("a"), Knob("b")]
    )
)


def turn(tx: Tx, key: str, value: int) -> None:
    tx.update(knobs, key, value=value)
    if value < 0:
        tx.update(knobs, key, label="half")
        tx.insert(knobs, Knob("new"))
        raise RuntimeError("unlucky")


class Server:
    def __init__(self, latency: float = 0.0) -> None:
        self.latency = latency
        self.told: list[tuple[float, list[str]]] = []
        self.refused: set[int] = set()

    async def save(self, transaction: Transaction[Any]) -> None:
        rows = [f"{mutation.type} {mutation.key}={mutation.modified.value}" for mutation in transaction.mutations]
        self.told.append((round(asyncio.get_running_loop().time(), 3), rows))
        await asyncio.sleep(self.latency)
        if any(mutation.modified.value in self.refused for mutation in transaction.mutations):
            raise ValueError("refused")

    def paced(self, strategy: Strategy) -> PacedMutations[[str, int]]:
        return create_paced_mutations(on_mutate=turn, mutation_fn=self.save, strategy=strategy)


@pytest.fixture(autouse=True)
async def client() -> AsyncIterator[DbClient]:
    client = DbClient(on_error=lambda error: None)
    with client.activate():
        yield client
    await client.close()


async def at(second: float) -> None:
    await asyncio.sleep(second - asyncio.get_running_loop().time())


async def calls(set_knob: PacedMutations[[str, int]], *seconds: float) -> list[Transaction[Any]]:
    """Turn knob a at these seconds, to 1, 2, 3 …"""
    made: list[Transaction[Any]] = []
    for value, second in enumerate(seconds, 1):
        await at(second)
        made.append(set_knob("a", value))
    return made


def value(key: str = "a") -> int:
    knob = knobs.get(key)
    assert knob is not None
    return knob.value


CASES: dict[str, tuple[Strategy, list[tuple[float, list[str]]]]] = {
    # Calls at 0, 0.4, 0.8 and 3, with the values 1 to 4.
    "debounce": (debounce(1), [(1.8, ["update a=3"]), (4.0, ["update a=4"])]),
    "debounce leading": (
        debounce(1, leading=True),
        [(0.0, ["update a=1"]), (1.8, ["update a=3"]), (3.0, ["update a=4"])],
    ),
    "debounce leading only": (
        debounce(1, leading=True, trailing=False),
        [(0.0, ["update a=1"]), (3.0, ["update a=4"])],
    ),
    "throttle": (throttle(1), [(0.0, ["update a=1"]), (1.0, ["update a=3"]), (3.0, ["update a=4"])]),
    "throttle trailing only": (throttle(1, leading=False), [(1.0, ["update a=3"]), (4.0, ["update a=4"])]),
    "throttle leading only": (throttle(1, trailing=False), [(0.0, ["update a=1"]), (3.0, ["update a=4"])]),
    "queue": (
        queue(),
        [(0.0, ["update a=1"]), (0.4, ["update a=2"]), (0.8, ["update a=3"]), (3.0, ["update a=4"])],
    ),
    "queue with a wait": (
        queue(0.5),
        [(0.0, ["update a=1"]), (0.5, ["update a=2"]), (1.0, ["update a=3"]), (3.0, ["update a=4"])],
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_when_the_server_is_told(name: str) -> None:
    strategy, expected = CASES[name]
    server = Server()
    await calls(server.paced(strategy), 0, 0.4, 0.8, 3)
    await at(10)

    assert server.told == expected


async def test_a_burst_is_one_transaction_and_shown_at_once() -> None:
    server = Server()
    set_knob = server.paced(debounce(1))
    first = set_knob("a", 1)
    second = set_knob("b", 2)
    again = set_knob("a", 3)

    assert first is second is again
    assert (value("a"), value("b"), first.state) == (3, 2, "pending")
    await first.persisted()
    assert server.told == [(1.0, ["update a=3", "update b=2"])]
    assert set_knob("a", 4) is not first


async def test_throttle_never_sends_more_often() -> None:
    server = Server()
    await calls(server.paced(throttle(1)), *(step / 10 for step in range(35)))
    await at(10)

    assert [second for second, _ in server.told] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert server.told[-1] == (4.0, ["update a=35"])


async def test_a_call_that_is_not_taken_has_failed_and_shows_nothing() -> None:
    server = Server()
    taken, refused = await calls(server.paced(throttle(1, trailing=False)), 0, 0.1)

    assert (value(), taken.state, refused.state) == (1, "completed", "failed")
    with pytest.raises(TransactionError, match="throttle takes one call in 1 s"):
        await refused.persisted()


async def test_leading_only_debounce_waits_for_quiet() -> None:
    server = Server()
    await calls(server.paced(debounce(1, leading=True, trailing=False)), 0, 0.9, 1.8, 2.9)
    await at(5)

    assert server.told == [(0.0, ["update a=1"]), (2.9, ["update a=4"])]


async def test_a_queue_runs_one_at_a_time_and_keeps_the_order() -> None:
    server = Server(latency=1)
    set_knob = server.paced(queue(0.5))
    made = [set_knob("a", 1), set_knob("b", 2), set_knob("a", 3)]
    assert (value("a"), value("b")) == (3, 2)
    await asyncio.gather(*(tx.persisted() for tx in made))

    assert server.told == [(0.0, ["update a=1"]), (1.5, ["update b=2"]), (3.0, ["update a=3"])]


async def test_a_full_queue_takes_no_more() -> None:
    server = Server(latency=1)
    set_knob = server.paced(queue(max_size=1))
    running, waiting, refused = set_knob("a", 1), set_knob("a", 2), set_knob("a", 3)
    assert (running.state, waiting.state, refused.state, value()) == ("persisting", "pending", "failed", 2)
    waiting.rollback()
    # What was rolled back does not wait any longer.
    another = set_knob("b", 4)
    await another.persisted()

    assert [rows for _, rows in server.told] == [["update a=1"], ["update b=4"]]


async def test_in_a_queue_a_failure_takes_those_on_the_same_row_with_it() -> None:
    server = Server(latency=1)
    server.refused = {1}
    set_knob = server.paced(queue())
    bad, same, other = set_knob("a", 1), set_knob("a", 2), set_knob("b", 3)
    with pytest.raises(ValueError, match="refused"):
        await bad.persisted()
    assert (same.state, value("a")) == ("failed", 0)
    await other.persisted()

    assert [rows for _, rows in server.told] == [["update a=1"], ["update b=3"]]


async def test_what_the_server_refuses_is_taken_back() -> None:
    server = Server()
    server.refused = {2}
    first, second = await calls(server.paced(debounce(1)), 0, 0.5)
    assert first is second
    with pytest.raises(ValueError, match="refused"):
        await second.persisted()

    assert value() == 0


async def test_only_the_call_that_raises_is_undone() -> None:
    server = Server()
    set_knob = server.paced(debounce(1))
    heard: list[int] = []
    knobs.subscribe_changes(lambda changes: heard.extend(change.value.value for change in changes))
    tx = set_knob("a", 1)
    with pytest.raises(RuntimeError, match="unlucky"):
        set_knob("a", -1)
    assert (heard, tx.mutations[0].changes) == ([1], {"value": 1})
    with pytest.raises(RuntimeError, match="unlucky"):
        set_knob("b", -1)
    assert [knobs.get("a"), knobs.get("b"), knobs.get("new")] == [Knob("a", 1), Knob("b"), None]
    await tx.persisted()

    assert server.told == [(1.0, ["update a=1"])]


async def test_a_first_call_that_raises_leaves_nothing(client: DbClient) -> None:
    server = Server()
    set_knob = server.paced(debounce(1))
    with pytest.raises(RuntimeError, match="unlucky"):
        set_knob("a", -1)
    assert client.transactions_on(client.collection(knobs)) == []
    assert [knobs.get("a"), knobs.get("new")] == [Knob("a"), None]
    await at(5)

    assert server.told == []


async def test_a_call_that_undid_an_earlier_insert_is_undone_itself() -> None:
    steps: list[str] = []

    def change(tx: Tx, step: str) -> None:
        if step == "insert":
            tx.insert(knobs, Knob("c", 1))
            tx.delete(knobs, "b")
            return
        tx.delete(knobs, "c")
        tx.insert(knobs, Knob("c", 2))
        tx.insert(knobs, Knob("b", 9))
        if step == "swap":
            raise RuntimeError(step)
        tx.delete(knobs, "c")
        raise RuntimeError(step)

    async def save(transaction: Transaction[Any]) -> None:
        steps.extend(f"{mutation.type} {mutation.key}" for mutation in transaction.mutations)

    paced = create_paced_mutations(on_mutate=change, mutation_fn=save, strategy=debounce(1))
    tx = paced("insert")
    for step in ("swap", "delete"):
        with pytest.raises(RuntimeError, match=step):
            paced(step)
        assert [knobs.get("c"), knobs.get("b")] == [Knob("c", 1), None]
    await tx.persisted()

    assert steps == ["insert c", "delete b"]
    assert [knobs.get("c"), knobs.get("b")] == [Knob("c", 1), None]


async def test_after_a_rollback_the_next_call_begins_anew() -> None:
    server = Server()
    set_knob = server.paced(debounce(1))
    first = set_knob("a", 1)
    first.rollback()
    assert value() == 0
    second = set_knob("b", 2)
    await second.persisted()

    assert server.told == [(1.0, ["update b=2"])]


async def test_what_was_rolled_back_costs_no_wait_in_a_queue() -> None:
    server = Server()
    set_knob = server.paced(queue(1))
    made = [set_knob("a", 1), set_knob("b", 2), set_knob("a", 3)]
    made[1].rollback()
    await made[2].persisted()

    assert server.told == [(0.0, ["update a=1"]), (1.0, ["update a=3"])]


@pytest.mark.parametrize("strategy", [throttle(1), debounce(1), queue()])
async def test_a_call_may_roll_its_transaction_back(strategy: Strategy) -> None:
    server = Server()

    def change(tx: Tx) -> None:
        tx.update(knobs, "a", value=1)
        tx.rollback()

    tx = create_paced_mutations(on_mutate=change, mutation_fn=server.save, strategy=strategy)()
    await at(5)

    assert (tx.state, value(), server.told) == ("failed", 0, [])


async def test_only_the_strategy_commits() -> None:
    paced = create_paced_mutations(on_mutate=lambda tx: tx.commit(), mutation_fn=Server().save, strategy=debounce(1))
    with pytest.raises(UsageError, match="strategy"):
        paced()


async def test_sessions_have_their_own_pace_and_closing_one_sends_nothing(client: DbClient) -> None:
    server = Server()
    set_knob = server.paced(throttle(1))
    set_knob("a", 1)
    other = DbClient()
    with other.activate():
        set_knob("a", 2)
        waiting = set_knob("a", 3)
        await asyncio.sleep(0)
    await other.close()
    loop: Any = asyncio.get_running_loop()
    # The other session's own timer only.
    assert len([timer for timer in loop._scheduled if not timer.cancelled()]) == 1
    assert list(set_knob._pacers) == [client]
    await at(5)

    assert waiting.state == "failed"
    assert server.told == [(0.0, ["update a=1"]), (0.0, ["update a=2"])]


async def test_closing_with_a_queue_sends_nothing_more() -> None:
    server = Server(latency=1)
    set_knob = server.paced(queue())
    other = DbClient()
    with other.activate():
        set_knob("a", 1)
        waiting = set_knob("a", 2)
        await asyncio.sleep(0.5)
    await other.close()
    await at(5)

    assert (waiting.state, len(server.told)) == ("failed", 1)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: debounce(0), "debounce: wait"),
        (lambda: throttle(-1), "throttle: wait"),
        (lambda: throttle(1, leading=False, trailing=False), "nothing would ever"),
        (lambda: queue(-1), "queue: wait"),
        (lambda: queue(max_size=0), "max_size"),
    ],
)
def test_strategies_that_cannot_be_right(make: Any, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        make()


async def test_a_coroutine_function_cannot_show_anything() -> None:
    async def later(tx: Tx) -> None: ...

    with pytest.raises(UsageError, match="plain function"):
        create_paced_mutations(on_mutate=later, mutation_fn=Server().save, strategy=queue())

    def sneaky(tx: Tx) -> object:
        tx.update(knobs, "a", value=1)
        return later(tx)

    paced = create_paced_mutations(on_mutate=sneaky, mutation_fn=Server().save, strategy=queue())
    with pytest.raises(UsageError, match="plain function"):
        paced()
    assert value() == 0


def test_without_a_loop_nothing_is_changed() -> None:
    set_knob = Server().paced(debounce(1))
    with DbClient().activate():
        with pytest.raises(NoRunningLoopError):
            set_knob("a", 1)
        assert knobs.get("a") == replace(Knob("a"), value=0)
