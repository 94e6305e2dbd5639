from __future__ import annotations

import asyncio

import pytest

from realtime_preset_ably._life import Gathered, Life
from tanstack_realtime import CloseReason, ConnectionLostError

GONE = CloseReason(1006, "gone")


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_what_waits_is_told_of_the_end() -> None:
    life = Life()
    waiting = asyncio.ensure_future(life.run(forever()))
    await asyncio.sleep(0)
    assert life.end(GONE)
    assert not life.end(GONE)
    with pytest.raises(ConnectionLostError, match="gone"):
        await waiting
    await life.aclose()


async def test_nothing_is_begun_after_the_end() -> None:
    life = Life()
    life.end(GONE)
    with pytest.raises(ConnectionLostError):
        await life.run(forever())
    with pytest.raises(ConnectionLostError):
        life.require()


async def test_a_result_that_came_with_the_end_counts() -> None:
    life = Life()

    async def last() -> str:
        life.end(GONE)
        return "done"

    assert await life.run(last()) == "done"


async def test_an_error_is_the_callers() -> None:
    life = Life()

    async def fails() -> None:
        raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        await life.run(fails())


async def test_who_gives_up_cancels_the_work() -> None:
    life = Life()
    began, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await forever()
        finally:
            ended.set()

    waiting = asyncio.ensure_future(life.run(work()))
    await began.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await life.aclose()
    assert ended.is_set()


async def test_ten_who_ask_share_a_call() -> None:
    life, calls = Life(), 0

    async def call() -> None:
        nonlocal calls
        calls += 1

    gathered = Gathered(life, call, 0.0)
    await asyncio.gather(*(gathered() for _ in range(10)))
    assert calls == 1


async def test_who_asks_during_a_call_gets_another_after_it() -> None:
    life = Life()
    began, go_on = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    async def call() -> None:
        order.append("begin")
        began.set()
        await go_on.wait()
        order.append("end")

    gathered = Gathered(life, call, 0.0)
    first = asyncio.ensure_future(gathered())
    await began.wait()
    others = [asyncio.ensure_future(gathered()) for _ in range(3)]
    await asyncio.sleep(1.0)
    assert order == ["begin"]
    go_on.set()
    await asyncio.gather(first, *others)
    assert order == ["begin", "end", "begin", "end"]


async def test_who_gives_up_does_not_end_it_for_the_others() -> None:
    life, calls = Life(), 0

    async def call() -> None:
        nonlocal calls
        calls += 1

    gathered = Gathered(life, call, 0.0)
    impatient, patient = asyncio.ensure_future(gathered()), asyncio.ensure_future(gathered())
    await asyncio.sleep(0)
    impatient.cancel()
    await patient
    assert calls == 1


async def test_all_hear_of_a_failure_and_the_next_call_is_another() -> None:
    life = Life()
    answers = [ValueError("why"), None]

    async def call() -> None:
        if (error := answers.pop(0)) is not None:
            raise error

    gathered = Gathered(life, call, 0.0)
    found = await asyncio.gather(gathered(), gathered(), return_exceptions=True)
    assert [str(error) for error in found] == ["why", "why"]
    await gathered()
    assert answers == []
