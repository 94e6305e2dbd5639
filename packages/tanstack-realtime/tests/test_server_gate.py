"""The gate: who may do what, and what a failing hook does not do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from tanstack_realtime._errors import (
    AuthenticationError,
    ChannelDeniedError,
    ChannelError,
    ConfigurationError,
    PublishError,
    RealtimeError,
)
from tanstack_realtime._keys import Channel
from tanstack_realtime.server import (
    ANONYMOUS,
    Gate,
    Identity,
    Permissions,
    Publication,
    Reject,
    ServerObserver,
    bearer_token,
)
from tanstack_realtime.server._declared import DeclaredChannels
from tanstack_realtime.server._origin import OriginPolicy
from tanstack_realtime.server._token import connection_with_token

ALL = Permissions(subscribe=True, publish=True, presence=True)


class Denials(ServerObserver):
    def __init__(self) -> None:
        self.codes: list[str] = []

    def denied(self, user_id: str | None, channel: str | None, error: RealtimeError) -> None:
        self.codes.append(error.code)


@dataclass
class Setup:
    """A gate with everything granted, unless a test says otherwise."""

    authorize: Callable[[str, Channel], Any] = lambda user_id, channel: ALL
    get_user: Callable[[HTTPConnection], Any] = lambda connection: "u1"
    validate: Callable[[str, Channel, Any], Any] | None = None
    channels: Any = None
    allowed_origins: Any = None
    max_message_bytes: int = 100
    allow_anonymous: bool = False
    reported: list[RealtimeError] = field(default_factory=list[RealtimeError])
    denials: Denials = field(default_factory=Denials)

    def gate(self) -> Gate:
        return Gate(
            authorize=self.authorize,
            get_user=self.get_user,
            validate=self.validate,
            declared=DeclaredChannels(self.channels),
            origins=OriginPolicy(self.allowed_origins),
            max_message_bytes=self.max_message_bytes,
            allow_anonymous=self.allow_anonymous,
            hook_timeout=10.0,
            report=self.reported.append,
            observer=self.denials,
        )


def connection(**headers: str) -> HTTPConnection:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "scheme": "http", "path": "/", "headers": raw, "query_string": b""})


TODOS = Channel("todos", {"project_id": "1"})


# -- Permissions -----------------------------------------------------------------------------------------------------


def test_nothing_is_granted_by_default() -> None:  # A4
    assert Permissions() == Permissions(subscribe=False, publish=False, presence=False, expires_in=None)


@pytest.mark.parametrize("value", [1, "yes", None, object()])
def test_a_truthy_object_is_not_a_grant(value: Any) -> None:  # A4
    with pytest.raises(TypeError, match="subscribe="):
        Permissions(subscribe=value)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_lease_is_a_positive_number_of_seconds(seconds: float) -> None:
    with pytest.raises(ValueError, match="expires_in"):
        Permissions(expires_in=seconds)
    with pytest.raises(TypeError, match="expires_in"):
        Permissions(expires_in=True)


# -- authenticate ----------------------------------------------------------------------------------------------------


async def test_the_user_comes_from_a_sync_or_an_async_hook() -> None:
    async def later(_: HTTPConnection) -> str:
        await asyncio.sleep(1)
        return "u2"

    assert await Setup().gate().authenticate(connection()) == ("u1", None)
    assert await Setup(get_user=later).gate().authenticate(connection()) == ("u2", None)


async def test_an_identity_says_how_long_it_is_good_for() -> None:  # A16
    setup = Setup(get_user=lambda connection: Identity("u1", expires_in=60))
    assert await setup.gate().authenticate(connection()) == ("u1", 60)


@pytest.mark.parametrize(("user", "seconds"), [("", None), ("u1", 0), ("u1", float("inf"))])
def test_an_identity_is_somebody_for_some_time(user: str, seconds: float | None) -> None:
    with pytest.raises(ValueError, match="Identity"):
        Identity(user, seconds)


def test_an_identity_is_a_string() -> None:
    number: Any = 7
    with pytest.raises(TypeError, match="str"):
        Identity(number)


async def test_nobody_is_refused_for_good() -> None:  # A4
    setup = Setup(get_user=lambda connection: None)
    with pytest.raises(AuthenticationError) as caught:
        await setup.gate().authenticate(connection())
    assert (caught.value.code, caught.value.retryable) == ("unauthenticated", False)
    assert setup.reported == []
    assert setup.denials.codes == ["unauthenticated"]


async def test_nobody_is_let_in_only_by_an_explicit_choice() -> None:  # A4
    gate = Setup(get_user=lambda connection: None, allow_anonymous=True).gate()
    assert await gate.authenticate(connection()) == (ANONYMOUS, None)


@pytest.mark.parametrize("user", [7, b"u1", "", True, ["u1"]])
async def test_a_user_id_that_is_no_string_is_the_servers_fault(user: object) -> None:
    setup = Setup(get_user=lambda connection: user, allow_anonymous=True)
    with pytest.raises(AuthenticationError) as caught:
        await setup.gate().authenticate(connection())
    assert (caught.value.code, caught.value.retryable) == ("unavailable", True)
    assert "str(user.id)" in str(setup.reported[0])
    assert repr(user) not in caught.value.reason  # the client is not told what went wrong inside


@pytest.mark.parametrize(("status", "code"), [(401, "unauthenticated"), (403, "unauthenticated"), (503, "unavailable")])
async def test_get_user_may_raise_what_a_request_of_nobody_is_answered_with(status: int, code: str) -> None:
    def signed_in(_: HTTPConnection) -> str:
        raise HTTPException(status, "sign in first")

    setup = Setup(get_user=signed_in, allow_anonymous=True)
    with pytest.raises(AuthenticationError, match="sign in first") as caught:
        await setup.gate().authenticate(connection())
    assert (caught.value.code, caught.value.retryable) == (code, code == "unavailable")
    assert "sign in first" not in caught.value.reason
    assert setup.denials.codes == ["unauthenticated"] * (code == "unauthenticated")


async def test_a_failing_get_user_refuses_that_request_and_is_reported() -> None:  # V5
    def broken(_: HTTPConnection) -> str:
        raise KeyError("session")

    setup = Setup(get_user=broken, allow_anonymous=True)
    with pytest.raises(AuthenticationError) as caught:
        await setup.gate().authenticate(connection())
    assert caught.value.retryable
    assert isinstance(setup.reported[0].__cause__, KeyError)
    assert "session" not in caught.value.reason


def test_the_token_comes_from_the_header_or_the_first_message() -> None:  # A15
    assert bearer_token(connection(authorization="Bearer abc")) == "abc"
    assert bearer_token(connection(authorization="bearer  abc ")) == "abc"
    assert bearer_token(connection(authorization="Basic abc")) is None
    assert bearer_token(connection(authorization="Bearer")) is None
    assert bearer_token(connection()) is None
    handshake = connection(authorization="Bearer old").scope
    assert bearer_token(connection_with_token(handshake, "new")) == "new"
    assert bearer_token(connection_with_token(handshake, None)) == "old"
    assert "new" not in repr(handshake)  # the handshake's own scope, which servers log, never holds it


def test_a_token_in_the_url_is_not_looked_at() -> None:  # A15
    in_url = HTTPConnection({"type": "http", "path": "/", "headers": [], "query_string": b"token=abc&access_token=abc"})
    assert bearer_token(in_url) is None


# -- channels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wire",
    [
        "",
        ":",
        "todos:",
        "todos:project_id",
        "todos:project_id=1&project_id=2",
        "todos:=1",
        "todos:project_id=%zz",
        "todos:project_id=%e4",
        "todos:project_id=%ff",
        "todos:project_id=a b",
        "todos:b=1&a=1",
        "todos?project_id=1",
        "a" * 500,
        7,
        None,
        ["todos"],
        {"namespace": "todos"},
    ],
)
async def test_only_canonical_channels_reach_authorize(wire: object) -> None:  # A9
    asked: list[Channel] = []

    def authorize(_: str, channel: Channel) -> Permissions:
        asked.append(channel)
        return ALL

    gate = Setup(authorize=authorize).gate()
    with pytest.raises(ChannelError) as caught:
        await gate.admit_publish("u1", wire, {})
    assert not caught.value.retryable
    assert asked == []


@pytest.mark.parametrize("namespace", ["$", "$presence", "$rtp"])
def test_reserved_namespaces_are_refused(namespace: str) -> None:  # A11
    setup = Setup()
    with pytest.raises(ChannelError, match="reserved"):
        setup.gate().parse(Channel(namespace, {"a": "1"}).raw)
    assert setup.denials.codes == ["bad_channel"]
    assert setup.gate().parse(Channel("a$", {"a": "1"}).raw).namespace == "a$"


class _Declares:
    def __init__(self, declared: tuple[str, frozenset[str]] | None) -> None:
        self.declared_channel = declared


@pytest.mark.parametrize(
    "channels",
    [
        {"todos": {"project_id"}, "news": ()},
        [_Declares(("todos", frozenset({"project_id"}))), _Declares(("news", frozenset())), _Declares(None)],
    ],
)
def test_other_parameters_than_declared_are_refused(channels: Any) -> None:
    gate = Setup(channels=channels).gate()
    assert gate.parse("todos:project_id=1").params == {"project_id": "1"}
    assert gate.parse("news").params == {}
    assert gate.parse("undeclared:a=1").namespace == "undeclared"
    for wire in ("todos", "todos:project_id=1&x=2", "todos:projectId=1", "news:a=1"):
        with pytest.raises(ChannelError):
            gate.parse(wire)


def test_two_collections_may_share_a_namespace() -> None:
    gate = Setup(channels=[_Declares(("a", frozenset({"x"}))), _Declares(("a", frozenset({"y"})))]).gate()
    assert [gate.parse(wire).raw for wire in ("a:x=1", "a:y=1")] == ["a:x=1", "a:y=1"]
    with pytest.raises(ChannelError):
        gate.parse("a:x=1&y=1")


@pytest.mark.parametrize(
    "channels", [{"todos": "project_id"}, {"todos": [1]}, {7: {"a"}}, [object()], {"a": ["x", "x"]}]
)
def test_a_wrong_declaration_is_refused_at_once(channels: Any) -> None:
    with pytest.raises(ConfigurationError, match="channels="):
        DeclaredChannels(channels)


# -- authorize -------------------------------------------------------------------------------------------------------


async def test_each_operation_needs_its_own_grant() -> None:
    async def authorize(user_id: str, channel: Channel) -> Permissions:
        assert (user_id, channel) == ("u1", TODOS)
        return Permissions(subscribe=True)

    setup = Setup(authorize=authorize)
    assert await setup.gate().admit("u1", TODOS, "subscribe") == Permissions(subscribe=True)
    for operation in ("publish", "presence"):
        with pytest.raises(ChannelDeniedError) as caught:
            await setup.gate().admit("u1", TODOS, operation)
        assert (caught.value.code, caught.value.retryable, caught.value.channel) == ("denied", False, TODOS.raw)
    assert setup.reported == []


async def test_a_whole_grant_is_asked_for_once() -> None:
    asked: list[str] = []

    def authorize(user_id: str, channel: Channel) -> Permissions:
        asked.append(channel.raw)
        return Permissions(presence=user_id == "u1", expires_in=30)

    setup = Setup(authorize=authorize)

    assert await setup.gate().permissions("u1", TODOS) == Permissions(presence=True, expires_in=30)
    with pytest.raises(ChannelDeniedError) as caught:
        await setup.gate().permissions("u2", TODOS)
    assert (caught.value.code, caught.value.retryable) == ("denied", False)
    assert setup.denials.codes == ["denied"]
    assert asked == [TODOS.raw] * 2


async def test_a_whole_grant_is_none_while_authorize_fails() -> None:  # S17
    def authorize(_user_id: str, _channel: Channel) -> Permissions:
        raise OSError("database away")

    setup = Setup(authorize=authorize)
    with pytest.raises(ChannelDeniedError) as caught:
        await setup.gate().permissions("u1", TODOS)

    assert (caught.value.code, caught.value.retryable) == ("unavailable", True)
    assert len(setup.reported) == 1


async def test_an_exception_in_authorize_is_a_temporary_error_and_never_a_grant() -> None:  # S17, V5
    async def authorize(_: str, __: Channel) -> Permissions:
        raise ConnectionError("database away")

    setup = Setup(authorize=authorize)
    with pytest.raises(ChannelDeniedError) as caught:
        await setup.gate().admit("u1", TODOS, "subscribe")
    assert (caught.value.code, caught.value.retryable) == ("unavailable", True)
    assert "database" not in caught.value.reason
    assert isinstance(setup.reported[0].__cause__, ConnectionError)


@pytest.mark.parametrize("granted", [None, True, {"subscribe": True, "publish": True}, "yes", object()])
async def test_a_wrong_return_type_is_never_a_grant(granted: object) -> None:  # A4
    setup = Setup(authorize=lambda user_id, channel: granted)
    with pytest.raises(ChannelDeniedError) as caught:
        await setup.gate().admit("u1", TODOS, "subscribe")
    assert caught.value.retryable
    assert "Permissions()" in str(setup.reported[0])


async def test_a_hanging_authorize_fails_after_its_time() -> None:  # S17
    async def authorize(_: str, __: Channel) -> Permissions:
        await asyncio.Event().wait()
        return ALL

    setup = Setup(authorize=authorize)
    started = asyncio.get_running_loop().time()
    with pytest.raises(ChannelDeniedError) as caught:
        await setup.gate().admit("u1", TODOS, "subscribe")
    assert caught.value.code == "unavailable"
    assert asyncio.get_running_loop().time() - started == pytest.approx(10.0)
    assert isinstance(setup.reported[0].__cause__, TimeoutError)


# -- publish ---------------------------------------------------------------------------------------------------------


async def test_a_publish_asks_for_that_exact_channel_and_carries_the_publisher() -> None:  # A1
    asked: list[tuple[str, str]] = []

    def authorize(user_id: str, channel: Channel) -> Permissions:
        asked.append((user_id, channel.raw))
        return Permissions(publish=channel.params == {"project_id": "1"})

    gate = Setup(authorize=authorize).gate()
    publication = await gate.admit_publish("u1", "todos:project_id=1", {"a": [1, "é"]})
    assert (publication.text, publication.user_id, publication.channel) == ('{"a":[1,"é"]}', "u1", TODOS)
    with pytest.raises(ChannelDeniedError):
        await gate.admit_publish("u1", "todos:project_id=2", {})
    assert asked == [("u1", "todos:project_id=1"), ("u1", "todos:project_id=2")]


@pytest.mark.parametrize(
    ("data", "code"),
    [("x" * 99, "too_large"), ("é" * 50, "too_large"), (object(), "bad_data"), (float("nan"), "bad_data")],
)
async def test_size_and_shape_are_checked_before_anybody_is_asked(data: object, code: str) -> None:  # A2
    setup = Setup(authorize=lambda user_id, channel: pytest.fail("asked"))
    with pytest.raises(PublishError) as caught:
        await setup.gate().admit_publish("u1", "todos:project_id=1", data)
    assert (caught.value.code, caught.value.retryable) == (code, False)
    assert setup.denials.codes == [code]


async def test_the_largest_allowed_payload_passes() -> None:  # A2
    assert (await Setup().gate().admit_publish("u1", "a", "x" * 98)).text == f'"{"x" * 98}"'
    assert (await Setup().gate().admit_publish("u1", "a", "é" * 49)).data == "é" * 49


async def test_text_is_passed_on_as_it_came_unless_somebody_validates() -> None:
    # A mutant that passes it on although `validate` saw only the payload fails here.
    text = '{"a": 1}'
    publication = Setup().gate().begin_publish("u1", "a", {"a": 1}, text=text)
    assert isinstance(publication, Publication)
    assert (publication.text, publication.data) == (text, {"a": 1})
    admitted = Setup(validate=lambda user_id, channel, data: data).gate().begin_publish("u1", "a", {"a": 1}, text=text)
    assert not isinstance(admitted, Publication)
    assert (await admitted).text == '{"a":1}'


async def test_text_that_is_too_long_as_it_came_may_be_short_enough() -> None:
    gate = Setup().gate()
    publication = gate.begin_publish("u1", "a", [1], text=f"[1{' ' * 100}]")
    assert isinstance(publication, Publication)
    assert publication.text == "[1]"
    with pytest.raises(PublishError):
        gate.begin_publish("u1", "a", "é" * 50, text=f'"{"é" * 50}"')


async def test_a_publish_waits_only_where_a_hook_does() -> None:
    async def authorize(user_id: str, channel: Channel) -> Permissions:
        await asyncio.sleep(0)
        return Permissions(publish=user_id == "u1")

    gate = Setup(authorize=authorize).gate()
    admitted, refused = gate.begin_publish("u1", "a", 1), gate.begin_publish("u2", "a", 1)
    assert not isinstance(admitted, Publication)
    assert not isinstance(refused, Publication)
    assert (await admitted).data == 1
    with pytest.raises(ChannelDeniedError):
        await refused
    with pytest.raises(ChannelDeniedError):
        Setup(authorize=lambda user_id, channel: Permissions()).gate().begin_publish("u1", "a", 1)


async def test_a_validator_rejects_with_its_reason() -> None:  # P8
    def validate(user_id: str, channel: Channel, data: Any) -> Any:
        raise Reject(f"{user_id} said {data} on {channel.namespace}")

    setup = Setup(validate=validate)
    with pytest.raises(PublishError) as caught:
        await setup.gate().admit_publish("u1", "a", "rude")
    assert (caught.value.code, caught.value.reason, caught.value.retryable) == ("rejected", "u1 said rude on a", False)
    assert setup.reported == []


@pytest.mark.parametrize("rewritten", [0, None, False, "", {}, [], {"clean": True}])
async def test_what_a_validator_returns_is_published_even_if_falsy(rewritten: object) -> None:  # P8
    async def validate(_: str, __: Channel, ___: Any) -> Any:
        return rewritten

    publication = await Setup(validate=validate).gate().admit_publish("u1", "a", "raw")
    assert publication.data == rewritten
    assert type(publication.data) is type(rewritten)


@pytest.mark.parametrize("rewritten", [object(), "x" * 200])
async def test_a_validator_that_returns_nonsense_is_the_servers_fault(rewritten: object) -> None:  # P8
    setup = Setup(validate=lambda user_id, channel, data: rewritten)
    with pytest.raises(PublishError) as caught:
        await setup.gate().admit_publish("u1", "a", 1)
    assert (caught.value.code, caught.value.retryable, len(setup.reported)) == ("unavailable", True, 1)


async def test_a_validator_that_raises_publishes_nothing() -> None:  # P8
    def validate(_: str, __: Channel, ___: Any) -> Any:
        raise ZeroDivisionError

    setup = Setup(validate=validate)
    with pytest.raises(PublishError) as caught:
        await setup.gate().admit_publish("u1", "a", 1)
    assert (caught.value.code, caught.value.retryable) == ("unavailable", True)
    assert isinstance(setup.reported[0].__cause__, ZeroDivisionError)


async def test_a_validator_is_asked_only_for_what_is_allowed() -> None:
    setup = Setup(
        authorize=lambda user_id, channel: Permissions(), validate=lambda user_id, channel, data: pytest.fail("asked")
    )
    with pytest.raises(ChannelDeniedError):
        await setup.gate().admit_publish("u1", "a", 1)


# -- origins ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "expected"),
    [
        (None, "app.example.com", None, True),
        ("https://app.example.com", "app.example.com", None, True),
        ("http://app.example.com", "app.example.com", None, True),
        ("https://app.example.com:443", "app.example.com", None, True),
        ("https://app.example.com", "app.example.com:443", None, True),
        ("http://localhost:8000", "localhost:8000", None, True),
        ("http://LOCALHOST:8000", "localhost:8000", None, True),
        ("http://localhost:9000", "localhost:8000", None, False),
        ("https://evil.example", "app.example.com", None, False),
        ("https://app.example.com.evil.example", "app.example.com", None, False),
        ("https://evil.example/app.example.com", "app.example.com", None, False),
        ("null", "app.example.com", None, False),
        ("", "app.example.com", None, False),
        ("https://[", "app.example.com", None, False),
        ("https://a:b", "a:b", None, False),
        ("https://app.example.com", None, None, False),
        ("https://other.example", "app.example.com", ["https://other.example"], True),
        ("http://other.example", "app.example.com", ["https://other.example"], False),
        ("https://other.example:8443", "app.example.com", ["https://other.example"], False),
        ("https://anything.example", "app.example.com", ["*"], True),
    ],
)
def test_only_pages_of_the_same_host_or_listed_ones_may_talk(
    origin: str | None, host: str | None, allowed: list[str] | None, expected: bool
) -> None:
    gate = Setup(allowed_origins=allowed).gate()
    headers = {name: value for name, value in (("origin", origin), ("host", host)) if value is not None}
    if expected:
        gate.check_origin(connection(**headers))
    else:
        with pytest.raises(AuthenticationError) as caught:
            gate.check_origin(connection(**headers))
        assert caught.value.code == "bad_origin"


@pytest.mark.parametrize(
    "allowed", ["https://a.example", ["a.example"], ["https://a.example/"], ["https://a.example/x"]]
)
def test_a_wrong_origin_list_is_refused_at_once(allowed: Any) -> None:
    with pytest.raises(ConfigurationError, match="allowed_origins"):
        OriginPolicy(allowed)
