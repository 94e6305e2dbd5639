"""A network in one process: clients and servers by name, faults on demand or by chance, everything from one seed."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from ._socket import LOST, Conditions, MemorySocket, SocketClosedError, socket_pair

__all__ = ["Handler", "MemoryNetwork"]

Handler: TypeAlias = Callable[[MemorySocket], Awaitable[object]]
"""Serves one connection; the connection ends when it returns."""

_TRACE: Final = 2000


class _Connection:
    def __init__(self, client: str, address: str, near: MemorySocket, far: MemorySocket) -> None:
        self.client = client
        self.address = address
        self.near = near
        self.far = far
        self.task: asyncio.Task[None] | None = None

    @property
    def over(self) -> bool:
        """Whether both ends know that it has ended."""
        return (self.task is None or self.task.done()) and self.near.ended


class MemoryNetwork:
    """Connects clients with servers in one process.

    Servers `listen` at an address, clients `connect` from a name; faults are named by the client. Frames take the time
    that `conditions` say. Give it the virtual clock, and minutes pass in milliseconds.

    Args:
        seed: everything random comes from it; the same seed gives the same run.
        conditions: see `Conditions`.

    Attributes:
        seed: the seed.
        random: the source of everything random; draw from it too, and a run replays as a whole.
        conditions: may be replaced at any time.
        trace: what happened last, as ``(second, client, event)``.

    Example:
        >>> network = MemoryNetwork(seed=1)
        >>> network.cut("ann")
        >>> network.heal("ann")
    """

    def __init__(self, *, seed: int = 0, conditions: Conditions | None = None) -> None:
        self.seed: Final = seed
        self.random: Final = random.Random(seed)  # noqa: S311 -- a simulation must replay
        self.conditions = conditions or Conditions()
        self.trace: Final[deque[tuple[float, str, str]]] = deque(maxlen=_TRACE)
        self._servers: dict[str, Handler] = {}
        self._connections: list[_Connection] = []
        self._partitioned: dict[str, asyncio.Event] = {}
        self._failures: list[Exception] = []

    # -- servers and clients -------------------------------------------------------------------------------------------

    def listen(self, address: str, handler: Handler, /) -> None:
        """Serve an address from now on. A task per connection runs `handler`."""
        self._servers[address] = handler
        self._note("", f"{address} listens")

    async def stop(self, address: str, /) -> None:
        """Stop serving an address as a killed process does: every connection breaks, later attempts are refused."""
        self._servers.pop(address, None)
        self._note("", f"{address} stops")
        await self._break([connection for connection in self._connections if connection.address == address])

    async def connect(self, client: str, address: str, /) -> MemorySocket:
        """Connect. While the client is partitioned, this waits.

        Raises:
            ConnectionRefusedError: nothing listens there, or the conditions had it fail.
        """
        await self.reach(client)
        handler = self._servers.get(address)
        if handler is None or self.random.random() < self.conditions.refuse:
            self._note(client, f"refused by {address}")
            raise ConnectionRefusedError(f"nothing listens at {address!r}")
        near, far = socket_pair(client, self.random, lambda: self.conditions)
        connection = _Connection(client, address, near, far)
        self._connections = [former for former in self._connections if not former.over]
        self._connections.append(connection)
        self._note(client, f"connected to {address}")
        connection.task = asyncio.get_running_loop().create_task(
            self._serve(connection, handler), name=f"memory network: {address} serves {client}"
        )
        return near

    async def reach(self, client: str, /) -> None:
        """Take the time of one frame between a client and anything else; while it is partitioned, wait."""
        await asyncio.sleep(self.random.uniform(*self.conditions.latency))
        while (wall := self._partitioned.get(client)) is not None:
            await wall.wait()

    def connections(self, client: str, /) -> int:
        """Return how many connections a client has, half-open ones included."""
        return sum(not connection.over for connection in self._of(client))

    # -- faults --------------------------------------------------------------------------------------------------------

    def cut(self, client: str, /) -> None:
        """Break a client's connections; both ends notice at once. It may connect again."""
        self._note(client, "cut")
        for connection in self._of(client):
            connection.near.abort()

    def half_open(self, client: str, /) -> None:
        """Let a client's connections go silent: nothing arrives any more, and neither end is told."""
        self._note(client, "half-open")
        for connection in self._of(client):
            for direction in (connection.near._incoming, connection.near._outgoing):
                direction.swallows = direction.held = True

    def partition(self, client: str, /) -> None:
        """Separate a client from everything until `heal`: its frames wait, and so do its attempts to connect."""
        self._note(client, "partitioned")
        self._partitioned.setdefault(client, asyncio.Event())
        for connection in self._of(client):
            connection.near._incoming.held = connection.near._outgoing.held = True

    def heal(self, client: str, /) -> None:
        """End a partition. What waited arrives, as TCP would send it again."""
        wall = self._partitioned.pop(client, None)
        if wall is None:
            return
        self._note(client, "healed")
        wall.set()
        for connection in self._of(client):
            for direction in (connection.near._incoming, connection.near._outgoing):
                if not direction.swallows:
                    direction.release()

    def stall(self, client: str, /) -> None:
        """Make a client a slow reader: it takes nothing until `resume`."""
        self._note(client, "stalled")
        for connection in self._of(client):
            connection.near._incoming.stalled = True

    def resume(self, client: str, /) -> None:
        """End a stall."""
        self._note(client, "resumed")
        for connection in self._of(client):
            connection.near._incoming.stalled = False
            connection.near._incoming.release()

    async def aclose(self) -> None:
        """Stop every server and wait until nothing is left.

        Raises:
            ExceptionGroup: what handlers raised.
        """
        self._servers.clear()
        for wall in self._partitioned.values():
            wall.set()
        self._partitioned.clear()
        await self._break(list(self._connections))
        if self._failures:
            failures, self._failures = self._failures, []
            raise ExceptionGroup(f"servers failed on the network with seed {self.seed}", failures)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _of(self, client: str) -> list[_Connection]:
        return [connection for connection in self._connections if connection.client == client]

    def _note(self, client: str, event: str) -> None:
        self.trace.append((asyncio.get_running_loop().time(), client, event))

    async def _serve(self, connection: _Connection, handler: Handler) -> None:
        try:
            await handler(connection.far)
        except SocketClosedError:
            pass
        except Exception as error:  # noqa: BLE001 -- raised by `aclose`
            self._failures.append(error)
        finally:
            self._note(connection.client, f"served no more by {connection.address}")
            connection.far.close(LOST, "the server has gone")

    async def _break(self, connections: list[_Connection]) -> None:
        tasks = [c.task for c in connections if c.task is not None and not c.task.done()]
        for connection in connections:
            connection.near.abort()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
