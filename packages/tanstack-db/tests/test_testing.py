"""The virtual clock that every other test relies on."""

from __future__ import annotations

import asyncio

import pytest

from tanstack_db.testing import LoopStuckError, VirtualClockLoop, settle


async def test_an_hour_of_sleep_takes_no_time() -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()

    await asyncio.sleep(3600)

    assert loop.time() - started == pytest.approx(3600)


async def test_timers_fire_in_order_of_time_not_of_creation() -> None:
    order: list[str] = []

    async def after(delay: float, name: str) -> None:
        await asyncio.sleep(delay)
        order.append(name)

    await asyncio.gather(after(2, "b"), after(1, "a"), after(3, "c"))

    assert order == ["a", "b", "c"]


async def test_no_timer_runs_before_its_time() -> None:
    """Found by history 5049: two timers within a nanosecond, and the later one set itself again for ever."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    ran: list[float] = []
    for delay in (0.1, 0.1 + 5e-10):
        loop.call_at(start + delay, lambda: ran.append(loop.time()))

    await asyncio.sleep(1)

    assert ran == [start + 0.1, start + 0.1 + 5e-10]


async def test_timeouts_are_in_virtual_seconds() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await asyncio.sleep(6)


async def test_settle_runs_chains_without_passing_a_timer() -> None:
    reached: list[int] = []

    async def chain() -> None:
        for step in range(50):
            await asyncio.sleep(0)
            reached.append(step)

    later = asyncio.create_task(asyncio.sleep(1))
    task = asyncio.create_task(chain())
    await settle()

    assert reached == list(range(50))
    assert not later.done()
    await asyncio.gather(later, task)


def test_waiting_for_what_cannot_happen_fails_at_once() -> None:
    loop = VirtualClockLoop()
    waiting = loop.create_future()
    try:
        with pytest.raises(LoopStuckError, match="never happen"):
            loop.run_until_complete(waiting)
    finally:
        loop.close()
