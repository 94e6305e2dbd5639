"""The provider for the kit that every preset with a network can use: a sandbox on the simulated network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ._conformance import Access, Fault
from ._preset import MemoryPreset
from ._sandbox import NetworkPreset, RealtimeSandbox, allow_everything

if TYPE_CHECKING:
    from tanstack_realtime._connection import Timing
    from tanstack_realtime._keys import Channel
    from tanstack_realtime._transport import Capabilities, RealtimeTransport
    from tanstack_realtime.server import Authorize, Permissions

    from ._socket import Conditions

__all__ = ["SimulatedProvider"]


class SimulatedProvider:
    """A `ConformanceProvider` in virtual time. Use it in ``async with``.

    Args:
        preset: what is tested. Default: `MemoryPreset`.
        seed: of the network.
        conditions: of the network.
        wrap: replaces each transport, for example by a broken one.

    Attributes:
        sandbox: the server and its network.
    """

    def __init__(
        self,
        preset: NetworkPreset | None = None,
        *,
        seed: int = 0,
        conditions: Conditions | None = None,
        wrap: Callable[[RealtimeTransport], RealtimeTransport] | None = None,
        detect_within: float = 40.0,
    ) -> None:
        self._authorize: Authorize = allow_everything
        self._preset = preset if preset is not None else MemoryPreset()
        self._wrap = wrap
        self.detect_within: Final = detect_within
        self.quiet: Final = 2.0
        self.timing: Final[Timing | None] = None
        self.sandbox: Final = RealtimeSandbox(
            authorize=self._ask, preset=self._preset, seed=seed, conditions=conditions
        )

    @property
    def capabilities(self) -> Capabilities:
        """What the preset claims."""
        return self._preset.capabilities

    @property
    def lacks(self) -> Mapping[Fault, str]:
        """Everything can be caused here."""
        return {}

    async def __aenter__(self) -> SimulatedProvider:
        await self.sandbox.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self.sandbox.__aexit__(*exc)

    def access(self, user_id: str | None, /) -> Access:
        """Tell how a user gets in."""
        name = user_id or "nobody"
        transport = self._preset.transport(name)
        if self._wrap is not None:
            transport = self._wrap(transport)
        return Access(transport=transport, url="http://memory", token=user_id, http=self.sandbox.http(name))

    def set_authorize(self, authorize: Authorize, /) -> None:
        """Ask this from now on."""
        self._authorize = authorize

    async def publish(self, channel: Channel, data: Any, /) -> None:
        """Publish as the server."""
        await self.sandbox.realtime.publish(channel, data)

    async def revoke(self, user_id: str, channel: Channel, /) -> None:
        """End a user's access to a channel."""
        await self.sandbox.realtime.revoke(user_id, channel)

    async def cut(self, user_id: str, /) -> None:
        """Break the user's connections."""
        self.sandbox.network.cut(user_id)

    async def half_open(self, user_id: str, /) -> None:
        """Let the user's connections go silent."""
        self.sandbox.network.half_open(user_id)

    async def restart(self) -> None:
        """Stop the server and start it again."""
        await self.sandbox.restart()

    def _ask(self, user_id: str, channel: Channel) -> Permissions | Any:
        return self._authorize(user_id, channel)
