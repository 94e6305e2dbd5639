"""Scopes in virtual time: query_fn is a function of the test, the channel is called by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import pytest

from tanstack_db.testing import settle
from tanstack_realtime._echo import EchoRegister
from tanstack_realtime._envelope import RowMessage
from tanstack_realtime._errors import ChannelDeniedError, MessageError
from tanstack_realtime._feed import Feed
from tanstack_realtime._observe import Observer
from tanstack_realtime._replica import Replica
from tanstack_realtime._scope import ScopeMachine
from tanstack_realtime._scopes import ScopeListener
from tanstack_realtime._transport import Inbound

Row: TypeAlias = dict[str, Any]
ROOM = "a"


class Codec:
    def key(self, row: Row, /) -> Any:
        return row["id"]

    def scope(self, row: Row, /) -> str:
        return str(row["room"])

    def decode(self, data: Mapping[str, Any], /) -> Row:
        if not {"id", "room", "text"} <= data.keys():
            raise ValueError("not a whole row")
        return dict(data)

    def merge(self, row: Row, data: Mapping[str, Any], /) -> Row:
        return {**row, **data}

    def version(self, row: Row, /) -> int | None:
        return row.get("version")


class Screen:
    """A collection as the feed sees it: rows on the screen, a database behind query_fn, a channel."""

    acknowledgement_expected = True
    observer = Observer()

    def __init__(self) -> None:
        self.rows: dict[Any, Row] = {}
        self.database: list[Row] = []
        self.read_takes = 0.0
        self.failure: Exception | None = None
        self.reads = 0
        self.errors: list[Exception] = []
        self.listener: ScopeListener | None = None
        self.commits = 0
        self.changes = 0
        self.echoes = EchoRegister[tuple[str, RowMessage]](origin=lambda: "me", time=lambda: 0.0)
        self.feed: Feed[Row, Any] = Feed(
            host=self,
            replica=Replica(Codec()),
            echoes=self.echoes,
            make_machine=lambda: ScopeMachine(linger=5.0, spread=2.0, always_refetch=False, random=lambda: 0.5),
        )

    async def query(self, params: Mapping[str, Any], /) -> Iterable[Row]:
        self.reads += 1
        snapshot = [row for row in self.database if row["room"] == params["room"]]
        await asyncio.sleep(self.read_takes)
        if self.failure is not None:
            raise self.failure
        return snapshot

    def subscribe(self, channel: str, listener: ScopeListener, /) -> Callable[[], None] | None:
        self.listener = listener
        return lambda: setattr(self, "listener", None)

    def write(self, writes: Mapping[Any, Row | None], /) -> None:
        self.commits += bool(writes)
        for key, written in writes.items():
            if written is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = written

    def report(self, error: Exception, /) -> None:
        self.errors.append(error)

    def scope_changed(self) -> None:
        self.changes += 1

    def open(self) -> None:
        self.feed.retain(ROOM, {"room": ROOM}, self)

    def hear(self, **message: Any) -> None:
        assert self.listener is not None
        self.listener.on_message(Inbound(message))

    @property
    def texts(self) -> list[str]:
        return sorted(row["text"] for row in self.rows.values())


def row(key: int, text: str, room: str = ROOM) -> Row:
    return {"id": key, "text": text, "room": room}


async def live(screen: Screen) -> None:
    screen.open()
    assert screen.listener is not None
    screen.listener.on_live(None)
    await settle()


async def test_it_loads_after_the_acknowledgement_and_applies_messages() -> None:  # Q2, S21
    screen = Screen()
    screen.database = [row(1, "one")]
    screen.open()
    await settle()
    assert screen.reads == 0

    await live(screen)
    screen.hear(action="insert", data=row(2, "two"))

    assert screen.texts == ["one", "two"]
    status = screen.feed.status(ROOM)
    assert status is not None
    assert (status.loaded, status.live, status.rows) == (True, True, 2)
    await screen.feed.aclose()


async def test_the_snapshot_of_a_slow_query_does_not_undo_what_was_heard_meanwhile() -> None:  # Q1, G4
    screen = Screen()
    screen.database, screen.read_takes = [row(1, "old"), row(2, "gone")], 1.0
    await live(screen)
    screen.hear(action="update", data=row(1, "new"))
    screen.hear(action="delete", key=2)
    await asyncio.sleep(2)

    assert screen.texts == ["new"]
    await screen.feed.aclose()


async def test_without_acknowledgement_it_loads_after_two_seconds() -> None:  # S22
    screen = Screen()
    screen.database = [row(1, "one")]
    screen.open()

    await asyncio.sleep(1.9)
    assert screen.reads == 0
    await asyncio.sleep(0.2)
    assert screen.texts == ["one"]
    await screen.feed.aclose()


async def test_a_failing_query_is_state_is_reported_and_retried() -> None:  # Q15, G6
    screen = Screen()
    screen.failure = OSError("database is down")
    await live(screen)
    status = screen.feed.status(ROOM)
    assert status is not None
    assert (status.loaded, status.error) == (False, screen.failure)
    assert screen.errors == [screen.failure]

    screen.failure, screen.database = None, [row(1, "one")]
    await asyncio.sleep(2)

    assert screen.texts == ["one"]
    assert screen.feed.statistics.failures == 1
    await screen.feed.aclose()


async def test_a_failing_refetch_keeps_the_rows() -> None:  # Q15
    screen = Screen()
    screen.database = [row(1, "one")]
    await live(screen)
    screen.failure = OSError("database is down")
    screen.feed.refetch()
    await settle()

    assert screen.texts == ["one"]
    await screen.feed.aclose()


async def test_nothing_is_written_after_the_end_not_even_a_late_result() -> None:  # Q14, G1
    screen = Screen()
    screen.database, screen.read_takes = [row(1, "one")], 10.0
    await live(screen)
    listener = screen.listener
    assert listener is not None

    await screen.feed.aclose()
    listener.on_message(Inbound({"action": "insert", "data": row(2, "two")}))
    listener.on_live(False)
    await asyncio.sleep(20)

    assert screen.rows == {}
    assert screen.listener is None
    assert len(asyncio.all_tasks()) == 1


async def test_an_unused_scope_lingers_then_takes_its_rows_along() -> None:
    screen = Screen()
    screen.database = [row(1, "one")]
    await live(screen)

    screen.feed.release(ROOM, screen)
    await asyncio.sleep(4.9)
    assert screen.texts == ["one"]
    await asyncio.sleep(0.2)

    assert screen.rows == {}
    assert screen.listener is None
    assert screen.feed.channels == []


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"action": None},
        {"action": 5, "data": {}},
        {"action": "replace", "data": {}},
        {"action": "insert"},
        {"action": "insert", "data": []},
        {"action": "insert", "data": {"id": 9}},
        {"action": "delete"},
        {"action": "delete", "key": None},
        {"action": "delete", "key": True},
        {"action": "update", "key": [1], "data": {}},
        {"changes": []},
        {"changes": "insert"},
        {"changes": [row(9, "x")]},
        {"action": "insert", "data": row(9, "x"), "version": "1"},
        {"action": "insert", "data": row(9, "x"), "id": 5},
        {"action": "insert", "data": row(9, "x", room="b")},
        {"action": "insert", "data": row(9, "x"), "key": 8},
    ],
)
async def test_malformed_messages_change_nothing_are_counted_and_reported(message: Any) -> None:  # Q13, Q19, S14
    screen = Screen()
    screen.database = [row(1, "one")]
    await live(screen)

    screen.hear(**message)

    assert screen.texts == ["one"]
    assert screen.feed.statistics.refused == 1
    assert [type(error) for error in screen.errors] == [MessageError]
    await screen.feed.aclose()


@pytest.mark.parametrize("payload", [None, "text", 5, [], [1]])
async def test_a_payload_that_is_no_object_is_refused(payload: Any) -> None:  # Q13
    screen = Screen()
    await live(screen)
    assert screen.listener is not None

    screen.listener.on_message(Inbound(payload))

    assert screen.feed.statistics.refused == 1
    await screen.feed.aclose()


async def test_several_changes_are_one_commit() -> None:  # Q10
    screen = Screen()
    await live(screen)
    before = screen.commits

    screen.hear(changes=[{"action": "insert", "data": row(key, str(key))} for key in (1, 2, 3)])

    assert screen.texts == ["1", "2", "3"]
    assert screen.commits == before + 1
    await screen.feed.aclose()


async def test_a_hint_fetches_once_however_often_it_comes_spread_in_time() -> None:  # Q21, G10
    screen = Screen()
    await live(screen)
    screen.database = [row(1, "one")]
    for _ in range(5):
        screen.hear(action="refetch", id="m", origin="other")
    await settle()
    assert screen.reads == 1

    await asyncio.sleep(2)

    assert screen.reads == 2
    assert screen.texts == ["one"]
    await screen.feed.aclose()


async def test_the_own_echo_waits_for_the_answer() -> None:  # Q6
    screen = Screen()
    await live(screen)
    screen.echoes.begin("m1")

    screen.hear(action="insert", data=row(1, "one"), id="m1", origin="me")
    assert screen.rows == {}

    for channel, message in screen.echoes.fail("m1"):
        screen.feed.apply(channel, message)
    assert screen.texts == ["one"]
    await screen.feed.aclose()


async def test_a_refetch_waits_for_a_running_insert_so_that_one_row_shows_at_every_moment() -> None:
    screen = Screen()
    await live(screen)
    screen.feed.handler_started(ROOM)
    screen.database = [row(77, "under the server's key")]
    screen.feed.refetch()
    await settle()
    assert screen.rows == {}

    screen.feed.handler_ended(ROOM)
    await settle()

    assert screen.texts == ["under the server's key"]
    await screen.feed.aclose()


async def test_a_settlement_snapshot_is_applied_by_the_caller() -> None:  # Q21
    screen = Screen()
    await live(screen)
    screen.database = [row(1, "one")]

    apply = await screen.feed.snapshot_for_settlement(ROOM)
    assert screen.rows == {}
    assert apply is not None
    apply()

    assert screen.texts == ["one"]
    assert await screen.feed.snapshot_for_settlement("closed") is None
    await screen.feed.aclose()


async def test_a_settlement_snapshot_that_leaves_a_doubt_is_followed_by_a_fetch() -> None:  # Q11, Q21
    screen = Screen()
    await live(screen)
    screen.hear(action="insert", data={**row(1, "forged"), "version": 9}, key=1, version=9)
    screen.database = [{**row(1, "true"), "version": 1}]

    apply = await screen.feed.snapshot_for_settlement(ROOM)
    assert apply is not None
    apply()
    assert screen.texts == ["forged"]
    await asyncio.sleep(2)

    assert screen.texts == ["true"]
    await screen.feed.aclose()


async def test_denial_is_reported_and_shown_and_revocation_takes_the_rows() -> None:  # S15, S23
    screen = Screen()
    screen.database = [row(1, "one")]
    await live(screen)
    assert screen.listener is not None
    screen.failure = PermissionError("not a member")
    denial = ChannelDeniedError("no longer a member", channel=ROOM)

    screen.listener.on_denied(denial)
    assert screen.rows == {}
    await settle()

    status = screen.feed.status(ROOM)
    assert status is not None
    assert (status.denied, status.error, status.live) == (denial, screen.failure, False)
    assert denial in screen.errors

    screen.failure = None
    screen.listener.on_live(None)
    await asyncio.sleep(3)
    assert screen.texts == ["one"]
    await screen.feed.aclose()


async def test_another_user_starts_with_nothing_of_the_old_one() -> None:  # C18
    screen = Screen()
    screen.database = [row(1, "ada's")]
    await live(screen)
    screen.database = [row(2, "bob's")]

    screen.feed.restart()
    assert screen.rows == {}
    assert screen.listener is not None
    screen.listener.on_live(None)
    await settle()

    assert screen.texts == ["bob's"]
    await screen.feed.aclose()
