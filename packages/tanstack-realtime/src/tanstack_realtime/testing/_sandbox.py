"""A server and its users in one process, for the tests of an application."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from starlette.applications import Starlette
from starlette.routing import Mount

from tanstack_db import DbClient
from tanstack_realtime._create import create_realtime_client
from tanstack_realtime._errors import ConfigurationError
from tanstack_realtime._presets import Preset
from tanstack_realtime.server import Permissions, Realtime, bearer_token

from ._asgi import MOUNT, AsgiServer
from ._network import MemoryNetwork
from ._preset import MemoryPreset

if TYPE_CHECKING:
    from typing import Self

    from tanstack_realtime._client import RealtimeClient
    from tanstack_realtime._connection import Timing
    from tanstack_realtime._http import Http
    from tanstack_realtime._keys import Channel
    from tanstack_realtime._transport import RealtimeTransport
    from tanstack_realtime.server import Authorize

    from ._socket import Conditions

__all__ = ["NetworkPreset", "RealtimeSandbox", "allow_everything"]


class NetworkPreset(Preset, Protocol):
    """A preset that also works over a simulated network."""

    server: AsgiServer | None
    """Where the server half is reached; set by the sandbox."""

    def transport(self, client: str, /) -> RealtimeTransport:
        """Return the client half for a client's name on the network."""
        ...


def allow_everything(_user_id: str, _channel: Channel, /) -> Permissions:
    """Grant everybody everything. For tests only."""
    return Permissions(subscribe=True, publish=True, presence=True)


class RealtimeSandbox:
    """One server, any number of users, and the network between them.

    Use it in ``async with``. Leaving closes every client and the server, and fails if a task is left.

    Args:
        authorize: the application's. Default: everybody may do everything.
        serve: builds the application's `Realtime` with the preset that it is given; replaces `authorize`. Called again
            after a restart. Users must be told by their bearer token.
        preset: what carries the messages. Default: `MemoryPreset`.
        seed: of the network; also of the module `random` while the sandbox is open, since clients take their jitter
            from there.
        conditions: of the network.

    Attributes:
        network: for faults: ``sandbox.network.cut("ann")``.
        errors: what clients and server reported because no caller could be told.

    Example:
        >>> async with RealtimeSandbox() as sandbox:
        ...     ann, bob = await sandbox.client("ann"), await sandbox.client("bob")
        ...     await ann.publish(("chat", {"room": "1"}), "hello")
    """

    def __init__(
        self,
        *,
        authorize: Authorize = allow_everything,
        serve: Callable[[Preset], Realtime] | None = None,
        preset: NetworkPreset | None = None,
        seed: int = 0,
        conditions: Conditions | None = None,
    ) -> None:
        self.network: Final = MemoryNetwork(seed=seed, conditions=conditions)
        self.errors: Final[list[Exception]] = []
        self.preset: Final[NetworkPreset] = preset if preset is not None else MemoryPreset()
        self._authorize = authorize
        self._serve = serve
        self._realtime: Realtime | None = None
        self._clients: list[tuple[RealtimeClient, DbClient]] = []
        self._before: set[asyncio.Task[Any]] = set()
        self._random_state = random.getstate()

    @property
    def realtime(self) -> Realtime:
        """The present server."""
        if self._realtime is None:
            raise ConfigurationError("the sandbox's server does not run; use it in `async with`, or call start()")
        return self._realtime

    async def __aenter__(self) -> Self:
        self._before = asyncio.all_tasks()
        self._random_state = random.getstate()
        random.seed(self.network.seed)
        await self.start()
        return self

    async def __aexit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is not None:
            error.add_note(f"in a RealtimeSandbox with seed={self.network.seed}, which replays the network")
        for client, db in self._clients:
            await client.close()
            await db.close()
        await self.stop()
        await self.network.aclose()
        random.setstate(self._random_state)
        left = asyncio.all_tasks() - self._before - {asyncio.current_task()}
        if left and error is None:
            names = ", ".join(sorted(task.get_name() for task in left))
            raise AssertionError(f"tasks are left after everything was closed: {names}")

    # -- the server ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the server, with an empty memory."""
        realtime = self._serve(self.preset) if self._serve is not None else self._default()
        self._realtime = await realtime.__aenter__()
        self.preset.server = AsgiServer(self.network, Starlette(routes=[Mount(MOUNT, realtime)]))
        self.preset.server.start()

    async def stop(self) -> None:
        """Stop the server; it tells its clients to come back."""
        if self._realtime is not None:
            await self._realtime.aclose()
        await self.kill()

    async def kill(self) -> None:
        """End the server without a word. `start` starts another one, which knows nothing of what was before."""
        self._realtime = None
        if self.preset.server is not None:
            await self.preset.server.kill()

    async def restart(self) -> None:
        """Stop the server and start another one."""
        await self.stop()
        await self.start()

    # -- users ---------------------------------------------------------------------------------------------------------

    async def client(self, user_id: str, *, db: DbClient | None = None, timing: Timing | None = None) -> RealtimeClient:
        """Connect a user. Its name on the network is the user's id.

        Args:
            user_id: who it is.
            db: the `DbClient` whose collections use it. Default: one of its own, so that two users share nothing:
                ``client.collection(todos)`` is the user's instance.
            timing: deadlines and delays.
        """
        client = self.new_client(user_id, db=db, timing=timing)
        client.connect()
        await client.connected()
        return client

    def new_client(self, user_id: str, *, db: DbClient | None = None, timing: Timing | None = None) -> RealtimeClient:
        """Do what `client` does, without connecting."""
        owner = db or DbClient(on_error=self.errors.append)
        client = create_realtime_client(
            "http://memory",
            transport=self.preset.transport(user_id),
            get_token=lambda: user_id,
            db=owner,
            on_error=self.errors.append,
            http=self.http(user_id),
            timing=timing,
        )
        self._clients.append((client, owner))
        return client

    def http(self, user_id: str) -> Http:
        """Return what sends a user's HTTP requests, for requests that are not the client's own."""
        if self.preset.server is None:
            raise ConfigurationError("the sandbox's server was never started; use it in `async with`")
        return self.preset.server.http(user_id)

    async def pass_time(self, seconds: float = 1.0) -> None:
        """Let time pass, on a virtual clock at once: messages arrive, and after a few seconds clients are back."""
        await asyncio.sleep(seconds)

    def _default(self) -> Realtime:
        return Realtime(
            authorize=self._authorize, get_user=bearer_token, preset=self.preset, on_error=self.errors.append
        )
