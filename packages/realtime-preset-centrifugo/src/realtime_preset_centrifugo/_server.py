"""The server half: tokens for clients, answers for Centrifugo, messages through its API. It keeps nothing in memory.

So it works under several workers, and without lifespan events. Only revoking has a memory: a decision that is under way
in this process is made again; who has come in by one of another process is thrown out a few seconds later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tanstack_realtime import (
    Channel,
    ChannelDeniedError,
    ConfigurationError,
    PublishError,
    RealtimeError,
)
from tanstack_realtime.server._requests import error_response, require_json

from ._api import CentrifugoApi
from ._client import TOKEN_PATH, Pass, open_link
from ._names import DATA_PREFIX, PRESENCE_PREFIX
from ._proxies import Proxies
from ._tokens import connection_token

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from tanstack_realtime import Capabilities, Link, LinkSink, OpenRequest, RealtimeTransport
    from tanstack_realtime.server import Operation, Publication, ServerContext

    from ._settings import ServerSettings

__all__ = ["CentrifugoServer"]

_RIGHTS: Final[Mapping[str, Operation]] = {DATA_PREFIX: "subscribe", PRESENCE_PREFIX: "presence"}

_SECOND_SWEEP: Final = 4.0
"""Seconds after which every question that was open at the time of a revocation is answered: Centrifugo waits 3."""


class CentrifugoServer:
    """The server half of one `Realtime`.

    Args:
        context: the gate, and where failures go.
        settings: addresses and secrets.
        capabilities: for in-process transports.
        now: seconds since 1970.
    """

    def __init__(
        self,
        context: ServerContext,
        settings: ServerSettings,
        capabilities: Capabilities,
        *,
        now: Callable[[], float] = lambda: datetime.now(UTC).timestamp(),
    ) -> None:
        self._context = context
        self._settings = settings
        self._capabilities = capabilities
        self._now = now
        self._api = CentrifugoApi(settings)
        self._revocations = 0
        self._sweeps: set[asyncio.Task[None]] = set()
        self._proxies = Proxies(context, secret=settings.proxy_secret, now=now, revocations=lambda: self._revocations)

    def routes(self) -> Sequence[BaseRoute]:
        """Return ``/token`` for clients and ``/centrifugo/…`` for Centrifugo."""
        return [Route(TOKEN_PATH, self._token, methods=["POST"]), *self._proxies.routes()]

    def public_url(self, _connection: HTTPConnection, /) -> str:
        """Return Centrifugo's address."""
        return self._settings.socket_url

    async def publish(self, publication: Publication, /) -> None:
        """Hand a message to Centrifugo.

        Raises:
            PublishError: it was not taken.
        """
        await self._api.publish(publication)

    async def revoke(self, user_id: str, channel: Channel | None, /) -> None:
        """End a user's access to a channel, or with None to everything.

        Raises:
            PublishError: Centrifugo could not be told.
        """
        self._revocations += 1
        if channel is None:
            await self._api.disconnect(user_id)
            return
        for prefix in _RIGHTS:
            await self._api.unsubscribe(user_id, prefix, channel.raw)
        task = asyncio.get_running_loop().create_task(self._sweep_again(user_id, channel))
        self._sweeps.add(task)
        task.add_done_callback(self._sweeps.discard)

    async def startup(self) -> None:
        """Nothing to prepare."""

    async def aclose(self) -> None:
        """Close what is open to Centrifugo. Idempotent."""
        sweeps = list(self._sweeps)
        for task in sweeps:
            task.cancel()
        if sweeps:
            await asyncio.wait(sweeps)
        await self._api.aclose()

    def local_transport(self, *, user_id: str) -> RealtimeTransport:
        """Return a transport for a client in this process: it needs no HTTP, and goes through Centrifugo as all do."""
        if not isinstance(cast("object", user_id), str) or not user_id:
            raise ConfigurationError(f"local_transport(user_id={user_id!r}): pass the user's id as a non-empty str")
        return _LocalTransport(self._admit, user_id, replace(self._capabilities, publish_over_link=True))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _admit(self, user_id: str, expires_in: float | None = None) -> tuple[Pass, float]:
        token, lifetime = connection_token(user_id, self._settings.token_secret, now=self._now(), expires_in=expires_in)
        return Pass(url=self._settings.socket_url, user_id=user_id, token=token), lifetime

    async def _token(self, request: Request) -> Response:
        gate = self._context.gate
        try:
            gate.check_origin(request)
            require_json(request)
            admission, lifetime = self._admit(*await gate.authenticate(request))
        except RealtimeError as error:
            return error_response(error)
        body = {"url": admission.url, "user": admission.user_id, "token": admission.token, "expires_in": lifetime}
        return JSONResponse(body, headers={"cache-control": "no-store"})

    async def _sweep_again(self, user_id: str, channel: Channel) -> None:
        await asyncio.sleep(_SECOND_SWEEP)
        for prefix, operation in _RIGHTS.items():
            try:
                await self._context.gate.admit(user_id, channel, operation)
            except ChannelDeniedError:
                await self._end_quietly(user_id, prefix, channel)

    async def _end_quietly(self, user_id: str, prefix: str, channel: Channel) -> None:
        try:
            await self._api.unsubscribe(user_id, prefix, channel.raw)
        except PublishError as error:
            self._context.report(error)


class _LocalTransport:
    """Connects a client of this process, for a user whom the caller has authenticated."""

    def __init__(self, admit: Callable[[str], tuple[Pass, float]], user_id: str, capabilities: Capabilities) -> None:
        self._admit = admit
        self._user_id = user_id
        self._capabilities = capabilities

    @property
    def capabilities(self) -> Capabilities:
        """What the preset guarantees. Collections publish over the connection: there is no address for HTTP."""
        return self._capabilities

    async def open(self, request: OpenRequest, sink: LinkSink, /) -> Link:
        """Connect. The request's address and token are not used."""

        async def renew() -> str:
            return self._admit(self._user_id)[0].token

        return await open_link(self._admit(self._user_id)[0], renew, request, sink, self._capabilities)
