"""`RealtimeClient`: one user's connection, and everything that goes over it."""

from __future__ import annotations

import asyncio
import copy
import random as _random
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar
from uuid import uuid4

from tanstack_db import DbClient
from tanstack_store import Readable

from ._connection import ConnectionMachine, Phase, Timing
from ._connection_events import Close, Connect, Disconnect, Emit, Wake
from ._credentials import Credentials, GetToken
from ._driver import ConnectionDriver
from ._endpoint import Endpoint
from ._errors import (
    ClosedError,
    ConfigurationError,
)
from ._http import DefaultHttp, Http
from ._keys import ChannelLike, parse_channel, serialize_key
from ._lifecycle import Lifecycle, LifecycleEvent
from ._observe import GuardedObserver, Observer
from ._presence_channel import Presence, PresenceScope
from ._presence_hub import PresenceHub
from ._publishing import Publishing
from ._slot import client_slot
from ._state import RealtimeState
from ._state_store import StateStore
from ._statistics import ConnectionStatistics
from ._subscription import Listener, Subscription
from ._subscriptions import SubscriptionHub
from ._supervisor import Supervisor, loop_runs
from ._transport import JSON, Capabilities, Inbound, OpenRequest, RealtimeTransport

if TYPE_CHECKING:
    from typing import Self

__all__ = ["GetToken", "OnError", "RealtimeClient"]

C = TypeVar("C")
S = TypeVar("S")

OnError: TypeAlias = Callable[[Exception], object]

FOCUS_INTERVAL: Final = 5.0
"""Seconds between two refetches that coming back to the window causes, at least."""


class RealtimeClient:
    """One user's connection. Made by `create_realtime_client`; connects when it is told to.

    Not thread-safe: one event loop owns a client.

    Args:
        transport: the client half of a preset.
        db: the collections that use this client.
        url: base address of the server's realtime routes, or None in process.
        preset: name to compare with the server's before the first connection, or None.
        get_token: returns a fresh token.
        headers: extra headers of every request to the server.
        http: sends HTTP requests.
        on_error: takes failures that no caller can be told about. Default: the `DbClient`'s.
        owns_db: whether `close` closes `db` too.
        timing: the connection's times.
        random: a float in [0, 1), for jitter.
        observer: hears what happens; see `Observer`.

    Attributes:
        observer: the observer, guarded: its methods never raise.
        db: the `DbClient` whose collections use this client.
        origin: id of this instance, unique; marks what it publishes as its own.
        lifecycle: tell it that the user or the network is back.
    """

    def __init__(
        self,
        *,
        transport: RealtimeTransport,
        db: DbClient,
        url: str | None = None,
        preset: str | None = None,
        get_token: GetToken | None = None,
        headers: Mapping[str, str] | None = None,
        http: Http | None = None,
        on_error: OnError | None = None,
        owns_db: bool = False,
        timing: Timing | None = None,
        random: Callable[[], float] = _random.random,
        observer: Observer | None = None,
    ) -> None:
        self.db: Final = db
        self.observer: Final[Observer] = Observer() if observer is None else GuardedObserver(observer, self.report)
        self._connects = self._losses = 0
        self.origin: Final = uuid4().hex
        self.lifecycle: Final = Lifecycle(self._woken)
        self._transport = transport
        self._url = url
        self._preset = preset
        self._credentials = Credentials(get_token, headers, self.report)
        self._http = http or DefaultHttp()
        self._endpoint = Endpoint(url, self._http, self._credentials.request_headers)
        self._on_error = on_error or db.report
        self._owns_db = owns_db
        self._user_hooks: dict[object, Callable[[], object]] = {}
        self._last_focus = -FOCUS_INTERVAL
        self._before_close: dict[object, Callable[[], Awaitable[object]]] = {}
        self._ending = False
        self._closing = False
        self._closed = asyncio.Event()
        self._supervisor = Supervisor(self.report)
        self._machine = ConnectionMachine(random=random, timing=timing)
        self._hub = SubscriptionHub(
            supervisor=self._supervisor,
            random=random,
            report=self.report,
            changed=self._channels_changed,
            heard=self._heard,
            observer=self.observer,
        )
        self._presence = PresenceHub(
            supervisor=self._supervisor,
            random=random,
            report=self.report,
            keeps_state=self._presence_kept,
            changed=self._channels_changed,
        )
        self._state = StateStore(self._hub, self._presence, self.report)
        self.store: Final[Readable[RealtimeState]] = self._state.store
        """What the client shows of itself: ``client.store.state.status``. Read-only; can be subscribed to."""
        self._driver = ConnectionDriver(
            transport=transport,
            machine=self._machine,
            supervisor=self._supervisor,
            hub=self._hub,
            presence=self._presence,
            make_request=self._make_request,
            show=self._show,
            forget=self._forget,
            focused=self._focused,
            report=self.report,
        )
        self._publishing = Publishing(transport, self._driver, self._endpoint, self._hub, self._state, self.observer)
        client_slot(db).attach(self)

    def __repr__(self) -> str:
        return f"<RealtimeClient {self._state.state.status} {self._url or 'in process'}>"

    # -- connection ----------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Begin to connect, and keep connected from now on. Returns at once.

        Does nothing where that is the case already. Waiting for a retry, it tries now. After a refusal it starts anew.

        Raises:
            ClosedError: the client was closed.
            ConfigurationError: no event loop runs.
        """
        self._require_open()
        if not loop_runs():
            raise ConfigurationError(
                "connect() needs a running event loop; call it inside a coroutine", reason="no event loop runs"
            )
        self._driver.dispatch(Connect())

    def disconnect(self) -> None:
        """End the connection, and do not connect again by itself. Subscriptions stay and wait."""
        self._driver.dispatch(Disconnect())

    async def connected(self) -> None:
        """Wait until connected: authenticated, and every subscription answered.

        It waits while attempts fail, too. Where `asyncio.timeout` ends that, the traceback says why the last one did.

        Raises:
            NotConnectedError: `connect` was not called, or `disconnect` was called meanwhile.
            AuthenticationError: the server refuses us.
            RealtimeError: something else that trying again cannot mend; see `RealtimeError.retryable`.
            ClosedError: the client was closed.
        """
        self._require_open()
        try:
            await self._driver.connected()
        except asyncio.CancelledError as error:
            state = self.store.state
            error.add_note(f"{self!r} was not connected at attempt {state.attempt}: {state.reason or 'no answer yet'}")
            raise

    async def __aenter__(self) -> Self:
        """Connect and wait for it. Limit the wait with `asyncio.timeout` where the server may be away."""
        try:
            self.connect()
            await self.connected()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the client: its connection, subscriptions and tasks, and its `db` if it was made for it. Idempotent."""
        await self.shut_down()
        if self._owns_db:
            await self.db.close()

    # -- what it is like -----------------------------------------------------------------------------------------------

    @property
    def url(self) -> str | None:
        """Base address of the server's realtime routes, or None in process."""
        return self._url

    @property
    def capabilities(self) -> Capabilities:
        """What the preset guarantees."""
        return self._transport.capabilities

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._ending

    @property
    def user_id(self) -> str | None:
        """Who the server says we are, or were last; None if it never said."""
        return self._machine.user_id

    @property
    def is_connected(self) -> bool:
        """Whether the connection can be used now."""
        return self._machine.phase is Phase.CONNECTED

    def statistics(self) -> ConnectionStatistics:
        """Return counters since the client was made. Cheap."""
        return ConnectionStatistics(
            attempts=self._machine.generation,
            connects=self._connects,
            losses=self._losses,
            messages=self._hub.messages,
            published=self._publishing.published,
            failed=self._publishing.failed,
            channels=len(self._state.state.subscriptions),
        )

    def collection(self, collection: C, /) -> C:
        """Return this client's own instance of a collection.

        Args:
            collection: any client's instance, as a rule the module-level one.
        """
        return self.db.collection(collection)

    # -- channels ------------------------------------------------------------------------------------------------------

    def subscribe(self, channel: ChannelLike, listener: Listener | Callable[[Inbound], object], /) -> Subscription:
        """Listen to a channel, now or as soon as there is a connection, and again after every reconnect.

        However many listeners a channel has, the server sees one subscription.

        Args:
            channel: ``("chat", {"room": "1"})`` or a `Channel`.
            listener: a plain function of one `Inbound`, or a `Listener` to hear of gaps and refusals too. Never called
                from within this call.

        Raises:
            ChannelError: not a channel.
            ConfigurationError: not a listener.
            ClosedError: the client was closed.
        """
        self._require_open()
        return self._hub.subscribe(parse_channel(serialize_key(channel)), listener)

    def presence(self, scope: PresenceScope[S], /, *, initial: S | None = None) -> Presence[S]:
        """See who is in a room, and with `initial` be a member of it. `Presence.close` ends both.

        It joins now or as soon as there is a connection, and again after every reconnect. Without `initial` nobody sees
        this client there; `Presence.join` changes that.

        Args:
            scope: ``editor.scope(document_id="d1")``; see `create_presence_channel`.
            initial: the own state.

        Raises:
            SchemaError: `initial` is not a state of the channel's class.
            ConfigurationError: not a scope.
            ClosedError: the client was closed.
        """
        self._require_open()
        if not isinstance(scope, PresenceScope):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"presence({scope!r}): pass a room, which a presence channel's scope makes: "
                "editor.scope(document_id='d1'), with editor = create_presence_channel(...)"
            )
        return Presence(self._presence, scope, initial)

    async def publish(self, channel: ChannelLike, data: JSON, /) -> None:
        """Publish over the connection, and wait until the server has accepted it.

        While a connection is on its way, waits for it, at most 10 seconds. Needs no subscription.

        Args:
            channel: ``("chat", {"room": "1"})`` or a `Channel`.
            data: what `json.dumps` writes.

        Raises:
            ChannelError: not a channel.
            NotConnectedError: there is no connection. Nothing was sent.
            ChannelDeniedError: not allowed.
            PublishError: refused, too large, or rate-limited.
            ConnectionLostError: the connection ended before the answer; it may have happened or not.
            ClosedError: the client was closed.
        """
        self._require_open()
        await self._publishing.over_link(serialize_key(channel), data)

    def publish_soon(self, channel: ChannelLike, data: JSON, /) -> None:
        """Publish over the connection without waiting: for handlers of events. A failure reaches ``on_error``.

        Args:
            channel: ``("chat", {"room": "1"})`` or a `Channel`.
            data: what `json.dumps` writes; as it is now.

        Raises:
            ChannelError: not a channel.
            ClosedError: the client was closed.
        """
        self._require_open()
        wire = serialize_key(channel)
        _ = self._supervisor.start(self.publish(channel, copy.deepcopy(data)), f"publish to {wire}")

    def begin_publish(self, wire: str, data: JSON, /) -> Callable[[], Awaitable[None]] | None:
        """Write a message to the connection at once, if there is one that can take it now. Never raises.

        Args:
            wire: the channel's wire string.
            data: what `json.dumps` writes.

        Returns:
            What waits until the server has accepted it, and raises as `publish` does; None where nothing was sent.
        """
        return self._publishing.begin(wire, data)

    async def publish_via_http(self, channel: ChannelLike, data: JSON, /) -> None:
        """Publish through the server's ``/publish`` route. Works without a connection, on every preset.

        Raises:
            ChannelError: not a channel.
            ConfigurationError: the client has no URL, or httpx is missing.
            AuthenticationError: the server does not know us.
            ChannelDeniedError: not allowed.
            PublishError: refused, too large, or rate-limited.
            ConnectionLostError: there was no answer; it may have happened or not.
            ClosedError: the client was closed.
        """
        self._require_open()
        await self._publishing.over_http(serialize_key(channel), data)

    # -- for collections -----------------------------------------------------------------------------------------------

    def on_user_change(self, callback: Callable[[], object], /) -> Callable[[], None]:
        """Call `callback` when another user is connected than before: what belonged to the former one must go.

        It is called before any channel is subscribed for the new user. Returns the function that stops it.
        """
        token = object()
        self._user_hooks[token] = callback

        def stop() -> None:
            self._user_hooks.pop(token, None)

        return stop

    async def shut_down(self) -> None:
        """Do what `close` does, without closing `db`. Idempotent."""
        if self._ending:
            await self._closed.wait()
            return
        self._ending = True
        try:
            for callback in list(self._before_close.values()):
                try:
                    await callback()
                except Exception as error:  # noqa: BLE001 -- closing goes on
                    self.report(error)
        finally:
            # Also when the wait above was cancelled: nobody could close the client a second time.
            self._closing = True
            self.lifecycle.close()
            self._driver.dispatch(Close())
            self._hub.close()
            self._presence.shut_down()
            client_slot(self.db).detach(self)
            try:
                await self._driver.ended()
                await self._supervisor.aclose()
                if isinstance(self._http, DefaultHttp):
                    await self._http.aclose()
            finally:
                self._state.close()
                self._closed.set()

    def before_close(self, callback: Callable[[], Awaitable[object]], /) -> Callable[[], None]:
        """Await `callback` first of all when the client is closed, while it can still publish.

        Returns the function that stops it.
        """
        token = object()
        self._before_close[token] = callback

        def stop() -> None:
            self._before_close.pop(token, None)

        return stop

    def report(self, error: Exception) -> None:
        """Tell `on_error` about a failure that no caller can be told about."""
        try:
            self._on_error(error)
        except Exception as failure:  # noqa: BLE001 -- the last resort must not fail itself
            context = {"message": f"on_error raised while it was told: {error!r}", "exception": failure}
            asyncio.get_running_loop().call_exception_handler(context)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _require_open(self) -> None:
        if self._closing:
            raise ClosedError("the client is closed; create a new one")

    async def _make_request(self) -> OpenRequest:
        if self._preset is not None:
            await self._endpoint.check_preset(self._preset)
        who = self._credentials
        return OpenRequest(self._url, await who.token(), who.headers, self.origin, who.refresh)

    def _woken(self, event: LifecycleEvent) -> None:
        if not self._closing and loop_runs():
            self._driver.dispatch(Wake(refetch=event != "online"))

    def _heard(self) -> None:
        self._driver.heard()

    def _focused(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._last_focus >= FOCUS_INTERVAL:
            self._last_focus = now
            self._hub.focus()

    def _forget(self, former: str | None, user_id: str | None) -> None:
        self._hub.forget()
        self._presence.forget()
        self.db.discard_transactions(f"user {user_id!r} is connected now, {former!r} was before")
        for token, callback in list(self._user_hooks.items()):
            if token not in self._user_hooks:
                continue
            try:
                callback()
            except Exception as error:  # noqa: BLE001 -- one collection's failure is not another's
                self.report(error)

    def _show(self, status: Emit) -> None:
        self._observe(status)
        self._state.show(status, connection_id=self._driver.connection_id, user_id=self.user_id)

    def _observe(self, status: Emit) -> None:
        was_connected = self._state.state.status == "connected"
        if status.status == "connected":
            self._connects += 1
            self.observer.connected(self._driver.connection_id or "", self.user_id)
        elif was_connected:
            self._losses += status.reason is not None
            self.observer.disconnected(status.reason)

    def _channels_changed(self) -> None:
        self._state.refresh_soon()

    def _presence_kept(self) -> bool | None:
        can = self._transport.capabilities
        return None if can.presence is None else can.native_presence
