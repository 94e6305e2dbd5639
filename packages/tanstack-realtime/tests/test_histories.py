"""Simulated histories over the reference preset, and proof that each invariant can fail."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from tanstack_realtime import Channel, Inbound
from tanstack_realtime._driver import ConnectionDriver
from tanstack_realtime._outbox import Outbox
from tanstack_realtime._replica import Replica
from tanstack_realtime._subscriptions import SubscriptionHub
from tanstack_realtime.server import Permissions
from tanstack_realtime.testing import MEMORY_CAPABILITIES, HistoryError, MemoryPreset, simulate
from tanstack_realtime.testing._database import Database, Task
from tanstack_realtime.testing._history import _History

BATCH = 50


def forgetful() -> MemoryPreset:
    """A provider that recovers nothing, so every reconnect is a gap."""
    return MemoryPreset(replace(MEMORY_CAPABILITIES, recovery=False, history=0))


@pytest.mark.parametrize("first", range(0, 250, BATCH))
@pytest.mark.parametrize("preset", [MemoryPreset, forgetful])
def test_every_view_agrees_with_the_database(first: int, preset: Callable[[], MemoryPreset]) -> None:
    """A failure names the seed: ``python scripts/simulate.py 1 --preset memory --first SEED``."""
    step = 1 if preset is MemoryPreset else 5
    for seed in range(first, first + BATCH, step):
        simulate(seed, preset=preset)


def test_a_seed_gives_the_same_history() -> None:
    assert simulate(11) == simulate(11)
    assert simulate(11) != simulate(12)


def first_failure(seeds: Iterable[int] = range(60)) -> str:
    """Return how the first history fails that does."""
    for seed in seeds:
        try:
            simulate(seed)
        except HistoryError as error:
            return str(error)
    raise AssertionError("no history failed")


def test_a_failure_names_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def raises(*_: object, **__: object) -> None:
        raise ValueError("a bug in the application")

    monkeypatch.setattr(Database, "save", raises)
    assert re.match(r"history \d+ .*somebody reported ValueError", first_failure())


def test_a_lost_message_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every acknowledged write is in every view. Mutant: one message in ten does not reach the client's hub."""
    message = SubscriptionHub.message

    def lossy(self: SubscriptionHub, channel: str, inbound: Inbound) -> None:
        if inbound.position is None or inbound.position.offset % 10 != 3:
            message(self, channel, replace(inbound, position=None))

    monkeypatch.setattr(SubscriptionHub, "message", lossy)
    assert "sees in" in first_failure()


def test_a_publish_that_never_happens_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every acknowledged write is in every view. Mutant: the outbox forgets what it is given."""

    def forgets(_: Outbox, _channel: str, _message: Any) -> None:
        """Do nothing."""

    monkeypatch.setattr(Outbox, "post", forgets)
    assert "sees in" in first_failure()


def test_a_row_that_the_database_does_not_have_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """No view shows a row that the database never had. Mutant: what a server function returns is changed on the way."""
    save = Database.save

    async def changed(self: Database, user_id: str, task: Task, **options: Any) -> Task:
        return replace(await save(self, user_id, task, **options), stamp="made up")

    monkeypatch.setattr(Database, "save", changed)
    assert "which nobody committed" in first_failure()


def test_a_deleted_row_that_comes_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """No view shows a row that is gone. Mutant: messages of deletes are ignored."""
    step = Replica[Any, Any]._apply

    def ignores_deletes(self: Replica[Any, Any], change: Any, received: Any, *, heard: bool) -> None:
        if not (heard and change.is_delete):
            step(self, change, received, heard=heard)

    monkeypatch.setattr(Replica, "_apply", ignores_deletes)
    assert "that is not there" in first_failure()


def test_a_row_of_a_foreign_project_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """No view shows a row of a scope that its user may not see. Mutant: `authorize` grants everything."""

    def grants(_: _History, _user_id: str, _channel: Channel) -> Permissions:
        return Permissions(subscribe=True, publish=True)

    monkeypatch.setattr(_History, "_authorize", grants)
    assert "which is none of" in first_failure()


def test_a_row_of_a_foreign_project_is_found_when_it_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """No view shows a row of a scope that its user may not see. Mutant: the server function does not ask who it is."""

    def asks_nothing(self: Database, user_id: str, project_id: str) -> None:
        """Let everybody in."""

    monkeypatch.setattr(Database, "_require", asks_nothing)
    assert "which is none of" in first_failure()


def test_optimistic_state_that_stays_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """At rest nothing is optimistic. Mutant: a server function never answers."""

    async def hangs(*_: object, **__: object) -> Task:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(Database, "save", hangs)
    assert "a write of" in first_failure()


def test_a_task_that_stays_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """At rest no task is left. Mutant: every connection leaves one behind."""
    ended = ConnectionDriver.ended
    stays: list[asyncio.Task[None]] = []

    async def leaves_one(self: ConnectionDriver) -> None:
        await ended(self)
        stays.append(asyncio.ensure_future(asyncio.sleep(5.0)))

    monkeypatch.setattr(ConnectionDriver, "ended", leaves_one)
    assert "tasks are left" in first_failure()


def test_a_timer_that_stays_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """At rest no timer is left. Mutant: a timer is not cancelled."""
    ended = ConnectionDriver.ended

    async def leaves_one(self: ConnectionDriver) -> None:
        await ended(self)
        asyncio.get_running_loop().call_later(1000.0, print)

    monkeypatch.setattr(ConnectionDriver, "ended", leaves_one)
    assert "timers are left" in first_failure()
