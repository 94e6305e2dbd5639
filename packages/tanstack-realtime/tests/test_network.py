"""The simulated network, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tanstack_realtime.testing import Conditions, MemoryNetwork, MemorySocket, SeededLoop, SocketClosedError, settle


@pytest.fixture
async def network() -> AsyncIterator[MemoryNetwork]:
    network = MemoryNetwork(seed=3)
    yield network
    await network.aclose()
    loop: Any = asyncio.get_running_loop()
    assert asyncio.all_tasks() == {asyncio.current_task()}  # X9
    assert [timer for timer in loop._scheduled if not timer.cancelled()] == []


async def echo(socket: MemorySocket) -> None:
    while True:
        await socket.send(await socket.recv())


async def reads(socket: MemorySocket) -> list[str]:
    """Return what arrives within a second."""
    heard: list[str] = []
    try:
        async with asyncio.timeout(1.0):
            while True:
                heard.append(await socket.recv())
    except (TimeoutError, SocketClosedError):
        return heard


async def test_frames_keep_their_order_and_take_time(network: MemoryNetwork) -> None:
    network.listen("server", echo)
    network.conditions = Conditions(latency=(0.1, 0.9))
    socket = await network.connect("ann", "server")
    before = asyncio.get_running_loop().time()
    for number in range(50):
        await socket.send(str(number))
    assert [await socket.recv() for _ in range(50)] == [str(number) for number in range(50)]
    assert 0.2 <= asyncio.get_running_loop().time() - before <= 1.8


async def test_a_frame_is_sent_at_once_unless_it_had_to_wait(network: MemoryNetwork) -> None:
    async def sleeper(socket: MemorySocket) -> None:
        await asyncio.sleep(1)
        await echo(socket)

    network.listen("server", sleeper)
    network.conditions = Conditions(buffer=10)
    socket = await network.connect("ann", "server")
    assert socket.send_now("first, long")
    assert not socket.send_now("second")
    waiting = asyncio.create_task(socket.send("second"))
    await settle()
    assert not socket.send_now("")  # would overtake what waits
    assert [await socket.recv(), await socket.recv()] == ["first, long", "second"]
    await waiting
    assert socket.send_now("third")
    network.cut("ann")
    assert not socket.send_now("fourth")


async def test_nobody_listens(network: MemoryNetwork) -> None:
    with pytest.raises(ConnectionRefusedError):
        await network.connect("ann", "server")
    network.listen("server", echo)
    network.conditions = Conditions(refuse=1.0)
    with pytest.raises(ConnectionRefusedError):
        await network.connect("ann", "server")


async def test_a_cut_is_noticed_at_both_ends(network: MemoryNetwork) -> None:
    ends: list[int] = []

    async def server(socket: MemorySocket) -> None:
        try:
            await socket.recv()
        except SocketClosedError as error:
            ends.append(error.code)

    network.listen("server", server)
    ann, bob = await network.connect("ann", "server"), await network.connect("bob", "server")
    network.cut("ann")
    with pytest.raises(SocketClosedError):
        await ann.recv()
    with pytest.raises(SocketClosedError):
        await ann.send("x")
    await settle()
    assert ends == [1006]
    assert (network.connections("ann"), network.connections("bob")) == (0, 1)
    bob.close()


async def test_a_close_frame_comes_after_what_was_sent(network: MemoryNetwork) -> None:
    async def server(socket: MemorySocket) -> None:
        await socket.send("last words")
        socket.close(4001, "go away")

    network.listen("server", server)
    socket = await network.connect("ann", "server")
    assert await socket.recv() == "last words"
    with pytest.raises(SocketClosedError, match="go away") as caught:
        await socket.recv()
    assert caught.value.code == 4001


async def test_a_half_open_connection_tells_nobody(network: MemoryNetwork) -> None:
    network.listen("server", echo)
    socket = await network.connect("ann", "server")
    network.half_open("ann")
    await socket.send("hello")
    assert await reads(socket) == []
    assert network.connections("ann") == 1
    again = await network.connect("ann", "server")
    await again.send("hello")
    assert await again.recv() == "hello"


async def test_a_partition_holds_everything_back_until_it_heals(network: MemoryNetwork) -> None:
    network.listen("server", echo)
    socket = await network.connect("ann", "server")
    network.partition("ann")
    await socket.send("1")
    dial = asyncio.ensure_future(network.connect("ann", "server"))
    assert await reads(socket) == []
    assert not dial.done()
    network.heal("ann")
    assert await socket.recv() == "1"
    (await dial).close()


async def test_a_slow_reader_makes_the_sender_wait(network: MemoryNetwork) -> None:
    sent: list[int] = []

    async def server(socket: MemorySocket) -> None:
        for number in range(10):
            await socket.send("x" * 100)
            sent.append(number)

    network.conditions = Conditions(buffer=250)
    network.listen("server", server)
    socket = await network.connect("ann", "server")
    network.stall("ann")
    assert await reads(socket) == []
    assert sent == [0, 1]
    network.resume("ann")
    assert len(await reads(socket)) == 10


async def test_a_stopped_server_breaks_connections_and_refuses(network: MemoryNetwork) -> None:
    network.listen("server", echo)
    socket = await network.connect("ann", "server")
    await network.stop("server")
    with pytest.raises(SocketClosedError):
        await socket.recv()
    with pytest.raises(ConnectionRefusedError):
        await network.connect("ann", "server")


async def hundred(network: MemoryNetwork, conditions: Conditions) -> list[str]:
    """Return what arrives of a hundred unreliable frames and a reliable one, which must arrive once."""

    async def server(socket: MemorySocket) -> None:
        for number in range(100):
            await socket.send(f'{{"type":"message","n":{number:03}}}')
        await socket.send("reliable")
        await asyncio.sleep(5.0)

    network.conditions = conditions
    network.listen("server", server)
    heard = await reads(await network.connect("ann", "server"))
    assert heard.count("reliable") == 1
    heard.remove("reliable")
    return heard


async def test_frames_are_dropped(network: MemoryNetwork) -> None:
    heard = await hundred(network, Conditions(drop=0.5))
    assert 20 < len(set(heard)) == len(heard) < 80


async def test_frames_are_duplicated(network: MemoryNetwork) -> None:
    heard = await hundred(network, Conditions(duplicate=0.5))
    assert len(set(heard)) == 100
    assert 120 < len(heard) < 180


async def test_frames_are_reordered(network: MemoryNetwork) -> None:
    heard = await hundred(network, Conditions(reorder=0.5))
    assert heard != sorted(heard)
    assert len(set(heard)) == len(heard) == 100


async def test_connections_break_by_chance(network: MemoryNetwork) -> None:
    network.listen("server", echo)
    network.conditions = Conditions(breaks=0.2)
    socket = await network.connect("ann", "server")
    sends = [socket.send("x") for _ in range(100)]
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert isinstance(results[-1], SocketClosedError)
    assert results[0] is None


async def test_what_a_server_raises_is_raised(network: MemoryNetwork) -> None:
    async def broken(_: MemorySocket) -> None:
        raise ValueError("a bug")

    network.listen("server", broken)
    socket = await network.connect("ann", "server")
    with pytest.raises(SocketClosedError):
        await socket.recv()
    with pytest.raises(ExceptionGroup, match="seed 3"):
        await network.aclose()


def run(seed: int) -> list[str]:
    """Return the order in which three tasks took turns."""
    order: list[str] = []

    async def work(name: str) -> None:
        for _ in range(5):
            order.append(name)
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(work(name) for name in "abc"))

    loop = SeededLoop(seed)
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    return order


def test_the_order_of_tasks_comes_from_the_seed() -> None:
    assert run(1) == run(1)
    assert len({tuple(run(seed)) for seed in range(10)}) > 5
    assert all(sorted(run(seed)) == sorted("abc" * 5) for seed in range(10))
