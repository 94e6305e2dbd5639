"""The node preset passes the conformance kit: on the simulated network, and in the server's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from realtime_preset_node import NodePreset
from realtime_preset_node._server import NodeServer
from realtime_preset_node.testing import SimulatedNode
from tanstack_realtime import Channel, RealtimeTransport
from tanstack_realtime.server import Authorize, Permissions, Realtime
from tanstack_realtime.testing import (
    BROKEN_PRESENCE,
    CHECKS,
    Access,
    BrokenPresenceLink,
    BrokenTransport,
    ConformanceProvider,
    Fault,
    SimulatedProvider,
    allow_everything,
    run_check,
)

Run = Callable[[ConformanceProvider], Awaitable[None]]


@pytest.fixture
async def simulated(realtime_seed: int) -> AsyncIterator[SimulatedProvider]:
    async with SimulatedProvider(SimulatedNode(), seed=realtime_seed) as provider:
        yield provider


async def test_on_the_simulated_network(conformance_check: Run, simulated: SimulatedProvider) -> None:
    await conformance_check(simulated)


@dataclass
class InProcess:
    """Clients in the server's own process."""

    quiet: float = 1.0
    detect_within: float = 1.0
    timing: None = None
    authorize: Authorize = allow_everything
    lacks: Mapping[Fault, str] = field(
        default_factory=lambda: {
            "half_open": "there is no network in between that could go silent",
            "http": "the client has no address",
            "stranger": "the caller vouches for the user",
        }
    )

    def __post_init__(self) -> None:
        self.preset = NodePreset()
        self.capabilities = self.preset.capabilities
        self.realtime = self.build()

    def build(self) -> Realtime:
        def authorize(user_id: str, channel: Channel) -> Permissions | Any:
            return self.authorize(user_id, channel)

        return Realtime(authorize=authorize, get_user=lambda _: None, preset=self.preset, on_error=lambda _: None)

    @property
    def server(self) -> NodeServer:
        server = self.realtime._server
        assert isinstance(server, NodeServer)
        return server

    def access(self, user_id: str | None, /) -> Access:
        assert user_id is not None
        return Access(transport=_Local(self, user_id))

    def set_authorize(self, authorize: Authorize, /) -> None:
        self.authorize = authorize

    async def publish(self, channel: Channel, data: Any, /) -> None:
        await self.realtime.publish(channel, data)

    async def revoke(self, user_id: str, channel: Channel, /) -> None:
        await self.realtime.revoke(user_id, channel)

    async def cut(self, user_id: str, /) -> None:
        for peer in self.server._registry.perhaps_of(user_id):
            peer.close(1006, "cut", discard=True)

    async def half_open(self, user_id: str, /) -> None:
        raise NotImplementedError

    async def restart(self) -> None:
        await self.realtime.aclose()
        self.realtime = self.build()
        await self.realtime.__aenter__()


class _Local:
    """Opens on whatever server runs now."""

    def __init__(self, provider: InProcess, user_id: str) -> None:
        self._provider = provider
        self._user_id = user_id
        self.capabilities = provider.capabilities

    async def open(self, request: Any, sink: Any, /) -> Any:
        transport: RealtimeTransport = self._provider.realtime.local_transport(user_id=self._user_id)
        return await transport.open(request, sink)


@pytest.fixture
async def in_process() -> AsyncIterator[InProcess]:
    provider = InProcess()
    async with provider.realtime:
        yield provider
    await provider.realtime.aclose()


async def test_in_process(conformance_check: Run, in_process: InProcess) -> None:
    await conformance_check(in_process)


@pytest.mark.parametrize("broken", BROKEN_PRESENCE, ids=lambda broken: broken.__name__)
async def test_broken_presence_is_caught(broken: type[BrokenTransport]) -> None:
    [check] = [check for check in CHECKS if check.name == broken.caught_by]
    async with SimulatedProvider(SimulatedNode(), wrap=broken) as provider:
        with pytest.raises(AssertionError):
            await run_check(check, provider)


class _PassesPresenceOn(BrokenTransport):
    """Nothing is wrong with it: what the others wrap is not why they are caught."""

    link_type = BrokenPresenceLink


@pytest.mark.parametrize("name", sorted({broken.caught_by for broken in BROKEN_PRESENCE}))
async def test_a_wrapped_transport_that_works_is_not_caught(name: str) -> None:
    [check] = [check for check in CHECKS if check.name == name]
    async with SimulatedProvider(SimulatedNode(), wrap=_PassesPresenceOn) as provider:
        await run_check(check, provider)
