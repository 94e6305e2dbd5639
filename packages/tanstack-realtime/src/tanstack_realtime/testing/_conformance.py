"""The conformance kit: what a transport must do, as named checks that run against any provider.

A provider hands itself to the kit as a `ConformanceProvider`. Every check says which cases of the register it holds,
and what it needs. It is left out only for a reason that is declared: a capability that the provider does not claim, or
a fault that cannot be caused there.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, TypeVar

from tanstack_db import DbClient
from tanstack_realtime._create import create_realtime_client
from tanstack_realtime._errors import RealtimeError
from tanstack_realtime._keys import Channel, parse_channel, serialize_key
from tanstack_realtime._transport import Capabilities, OpenRequest
from tanstack_realtime.server import Permissions

from ._recorder import RecordingListener, RecordingSink

if TYPE_CHECKING:
    from tanstack_realtime._client import RealtimeClient
    from tanstack_realtime._connection import Timing
    from tanstack_realtime._http import Http
    from tanstack_realtime._subscription import Subscription
    from tanstack_realtime._transport import Link, RealtimeTransport
    from tanstack_realtime.server import Authorize

__all__ = [
    "CHECKS",
    "Access",
    "Check",
    "CheckSkipped",
    "Claim",
    "ConformanceProvider",
    "Fault",
    "Kit",
    "Outcome",
    "check",
    "must",
    "run_check",
    "run_conformance",
]

E = TypeVar("E", bound=RealtimeError)

Fault: TypeAlias = Literal["cut", "half_open", "restart", "http", "stranger"]
"""What a check can need of a provider besides a server that runs; a stranger is a client that the server refuses."""

Claim: TypeAlias = Literal[
    "recovery",
    "history",
    "ordering",
    "echo",
    "publish_over_link",
    "presence",
    "max_message_bytes",
    "revocation_delay",
    "retry",
]
"""A field of `Capabilities` that checks prove. `native_presence` is not told apart: members see the same either way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How one user reaches the provider.

    Attributes:
        transport: the client half.
        url: address of the realtime routes, or None where there is none.
        token: what the server knows the user by, or None.
        http: sends HTTP requests, or None for the default.
    """

    transport: RealtimeTransport
    url: str | None = None
    token: str | None = None
    http: Http | None = None


class ConformanceProvider(Protocol):
    """A provider under test: a server that runs, and ways to reach and to hurt it.

    One instance serves one check. Whoever makes it starts it before and stops it after.

    Attributes:
        lacks: faults that cannot be caused, each with the reason. Their checks are left out.
        quiet: seconds in which everything that is on its way arrives. On a virtual clock they cost nothing.
        detect_within: seconds until a half-open connection is noticed and replaced, at most.
        timing: the clients' deadlines and delays, or None for the defaults. In real time shorter ones save minutes.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def lacks(self) -> Mapping[Fault, str]: ...

    @property
    def quiet(self) -> float: ...

    @property
    def detect_within(self) -> float: ...

    @property
    def timing(self) -> Timing | None: ...

    def access(self, user_id: str | None, /) -> Access:
        """Tell how a user gets in. None: somebody whom the server does not know."""
        ...

    def set_authorize(self, authorize: Authorize, /) -> None:
        """Ask this from now on, about everybody and every channel."""
        ...

    async def publish(self, channel: Channel, data: Any, /) -> None:
        """Publish as the server."""
        ...

    async def revoke(self, user_id: str, channel: Channel, /) -> None:
        """End a user's access to a channel."""
        ...

    async def cut(self, user_id: str, /) -> None:
        """Break the user's connections; both ends notice."""
        ...

    async def half_open(self, user_id: str, /) -> None:
        """Let the user's connections go silent, without telling anybody. New ones work."""
        ...

    async def restart(self) -> None:
        """Stop the server and start it again."""
        ...


def must(condition: object, otherwise: str) -> None:
    """Fail a check unless a condition holds. Unlike `assert` it also works under ``python -O``."""
    if not condition:
        raise AssertionError(otherwise)


class CheckSkipped(Exception):
    """A check does not apply; the message is the declared reason."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: stable, for reports.
        holds: ids of the register.
        needs: faults.
        proves: capabilities that it would find untrue.
        summary: one sentence.
    """

    name: str
    holds: tuple[str, ...]
    needs: tuple[Fault, ...]
    proves: tuple[Claim, ...]
    summary: str
    body: Callable[[Kit], Awaitable[None]] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.holds)})"


CHECKS: Final[list[Check]] = []
"""All checks, in the order in which they are reported."""


def check(
    *holds: str, needs: Sequence[Fault] = (), proves: Sequence[Claim] = ()
) -> Callable[[Callable[[Kit], Awaitable[None]]], Callable[[Kit], Awaitable[None]]]:
    """Register a check. Its name is the function's, its summary the first line of the docstring.

    Args:
        holds: ids of the register.
        needs: faults that it causes.
        proves: capabilities that it would find untrue.
    """

    def register(body: Callable[[Kit], Awaitable[None]]) -> Callable[[Kit], Awaitable[None]]:
        summary = (body.__doc__ or "").partition("\n")[0]
        CHECKS.append(Check(body.__name__, holds, tuple(needs), tuple(proves), summary, body))
        return body

    return register


class Kit:
    """What a check works with: clients, links and channels of its own, and everything closed at the end.

    Attributes:
        provider: the provider.
        denied: ``(user, channel, operation)`` that `authorize` refuses; the rest is granted.
        decide: answers in place of `denied` while it is set; may raise.
        errors: what clients reported because no caller could be told.
    """

    def __init__(self, provider: ConformanceProvider) -> None:
        self.provider: Final = provider
        self.denied: Final[set[tuple[str, Channel, str]]] = set()
        self.decide: Callable[[str, Channel], Permissions] | None = None
        self.errors: Final[list[Exception]] = []
        self._unique: Final = uuid.uuid4().hex[:12]
        self._numbers = itertools.count(1)
        self._clients: list[tuple[RealtimeClient, DbClient]] = []
        self._links: list[Link] = []
        provider.set_authorize(self._authorize)

    @property
    def capabilities(self) -> Capabilities:
        """What the provider claims."""
        return self.provider.capabilities

    # -- means ---------------------------------------------------------------------------------------------------------

    def channel(self) -> Channel:
        """Return a channel that nobody has used."""
        key = ("conformance", {"run": self._unique, "n": str(next(self._numbers))})
        return parse_channel(serialize_key(key))

    def user(self, name: str) -> str:
        """Return a user's id that nobody has used."""
        return f"{name}-{self._unique}"

    def new_client(self, name: str) -> RealtimeClient:
        """Return a client that is not connected."""
        access = self.provider.access(self.user(name))
        db = DbClient(on_error=self.errors.append)
        client = create_realtime_client(
            access.url,
            transport=access.transport,
            get_token=lambda: access.token,
            http=access.http,
            db=db,
            on_error=self.errors.append,
            timing=self.provider.timing,
        )
        self._clients.append((client, db))
        return client

    async def client(self, name: str) -> RealtimeClient:
        """Return a connected client."""
        client = self.new_client(name)
        client.connect()
        await self.soon(client.connected(), "a client connects")
        return client

    async def link(self, name: str | None, access: Access | None = None) -> tuple[Link, RecordingSink]:
        """Open a link without a client."""
        access = access or self.provider.access(None if name is None else self.user(name))
        sink = RecordingSink()
        request = OpenRequest(access.url, access.token, {}, "conformance")
        link = await self.soon(access.transport.open(request, sink), "a link opens")
        self._links.append(link)
        return link, sink

    async def listen(self, client: RealtimeClient, channel: Channel) -> tuple[Subscription, RecordingListener]:
        """Subscribe, and wait until it is live."""
        listener = RecordingListener()
        subscription = client.subscribe(channel, listener)
        await self.soon(subscription.live(), "a subscription becomes live")
        return subscription, listener

    def refuse(self, name: str, channel: Channel, operation: str) -> None:
        """Have `authorize` refuse an operation."""
        self.denied.add((self.user(name), channel, operation))

    # -- waiting -------------------------------------------------------------------------------------------------------

    async def soon(self, work: Awaitable[Any], what: str, *, within: float | None = None) -> Any:
        """Wait for `work`, at most ten times `quiet` or `within` seconds."""
        limit = within if within is not None else max(10.0, 10 * self.provider.quiet)
        try:
            async with asyncio.timeout(limit):
                return await work
        except TimeoutError:
            raise AssertionError(f"{what}: not within {limit:g} s") from None

    async def refused(self, work: Awaitable[Any], what: str, kind: type[E], *, within: float | None = None) -> E:
        """Wait until `work` fails with an error of that kind, and return it."""
        try:
            await self.soon(work, f"{what} is answered", within=within)
        except kind as error:
            return error
        except RealtimeError as error:
            raise AssertionError(f"{what} raised {error!r} instead of {kind.__name__}") from error
        raise AssertionError(f"{what} was accepted")

    async def until(self, condition: Callable[[], object], what: str, *, within: float | None = None) -> None:
        """Wait until something becomes true."""

        limit = within if within is not None else max(10.0, 10 * self.provider.quiet)
        deadline = asyncio.get_running_loop().time() + limit
        while not condition():
            must(asyncio.get_running_loop().time() < deadline, f"{what}: not within {limit:g} s")
            await asyncio.sleep(min(0.02, self.provider.quiet))

    async def quiet(self) -> None:
        """Wait until everything that was on its way has arrived."""
        await asyncio.sleep(self.provider.quiet)

    async def heard(self, listener: RecordingListener, number: int, what: str) -> None:
        """Wait until a listener has that many messages."""
        await self.until(lambda: len(listener.data) >= number, what)

    async def live_again(self, listener: RecordingListener, times: int = 2) -> None:
        """Wait until a listener was told for the second time, or for `times`, that its channel is live."""
        await self.until(lambda: len(listener.heard("live")) >= times, "the channel is live again", within=60.0)

    def claims(self, claimed: bool, otherwise: str) -> None:
        """Go on only if a capability is claimed.

        Raises:
            CheckSkipped: it is not.
        """
        if not claimed:
            raise CheckSkipped(otherwise)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _authorize(self, user_id: str, channel: Channel) -> Permissions:
        if self.decide is not None:
            return self.decide(user_id, channel)
        subscribe, publish, presence = (
            (user_id, channel, operation) not in self.denied for operation in ("subscribe", "publish", "presence")
        )
        return Permissions(subscribe=subscribe, publish=publish, presence=presence)

    async def aclose(self) -> None:
        """Close every client and link."""
        for client, db in self._clients:
            await self.soon(client.close(), "a client closes")
            await db.close()
        for link in self._links:
            await self.soon(link.close(), "a link closes")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a check ended.

    Attributes:
        check: the check.
        result: what happened.
        detail: the reason why it was left out, or how it failed; empty if it passed.
    """

    check: Check
    result: Literal["passed", "failed", "left out"]
    detail: str = ""


async def run_check(check: Check, provider: ConformanceProvider) -> None:
    """Run one check.

    Raises:
        CheckSkipped: it does not apply, for a declared reason.
        AssertionError: the provider breaks a promise; the message says which.
    """
    for fault in check.needs:
        if fault in provider.lacks:
            raise CheckSkipped(f"{fault}: {provider.lacks[fault]}")
    kit = Kit(provider)
    try:
        await check.body(kit)
    finally:
        await kit.aclose()


async def run_conformance(factory: Callable[[], Any], checks: Sequence[Check] | None = None) -> list[Outcome]:
    """Run checks, each with a provider of its own, and report.

    Args:
        factory: returns an asynchronous context manager that gives a provider which runs.
        checks: default: all.
    """
    outcomes: list[Outcome] = []
    for each in CHECKS if checks is None else checks:
        try:
            async with factory() as provider:
                await run_check(each, provider)
        except CheckSkipped as skipped:
            outcomes.append(Outcome(each, "left out", str(skipped)))
        except Exception as error:  # noqa: BLE001 -- whatever it is, the provider did not keep its promise
            outcomes.append(Outcome(each, "failed", f"{type(error).__name__}: {error}"))
        else:
            outcomes.append(Outcome(each, "passed"))
    return outcomes
