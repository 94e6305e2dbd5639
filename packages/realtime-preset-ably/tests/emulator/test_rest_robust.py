"""Whatever is sent to REST is answered, or refused with one of Ably's errors."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from realtime_preset_ably.emulator._access import App, Key
from realtime_preset_ably.emulator._authority import Authority
from realtime_preset_ably.emulator._capability import Capability
from realtime_preset_ably.emulator._errors import AblyError
from realtime_preset_ably.emulator._http import Request
from realtime_preset_ably.emulator._plain import to_msgpack
from realtime_preset_ably.emulator._realtime import Realtime
from realtime_preset_ably.emulator._resources import Resources
from realtime_preset_ably.emulator._rest import Rest
from realtime_preset_ably.emulator._sandbox import describe, parse_blueprint
from realtime_preset_ably.emulator._wire import Format, pack

NOW = 1_700_000_000_000


class Still:
    """A clock that stands still."""

    def now(self) -> int:
        return NOW

    def advance(self, milliseconds: int) -> None:
        raise NotImplementedError


def new_rest() -> Rest:
    authority = Authority(Still().now)
    key = Key("app", "key", "secret", Capability.parse({"*": ["*"]}), revocable=True)
    authority.add(App("app", {"key": key}))
    return Rest(authority, Resources(Realtime(authority, Still())), Still().now)


FIELDS = [
    "data",
    "name",
    "id",
    "clientId",
    "connectionKey",
    "encoding",
    "extras",
    "action",
    "channels",
    "messages",
    "targets",
    "issuedBefore",
    "allowReauthMargin",
    "keyName",
    "ttl",
    "capability",
    "timestamp",
    "nonce",
    "mac",
    "keys",
    "namespaces",
    "presence",
    "persisted",
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.sampled_from(["a", "app.key", "*", "json/base64", "clientId:x", '{"a":["publish"]}', "x:0", ":bad", "[meta]x"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | SCALARS, inner, max_size=5),
    max_leaves=12,
)
PATHS = st.sampled_from(
    [
        ("GET", "time"),
        ("GET", "stats"),
        ("POST", "messages"),
        ("GET", "presence"),
        ("POST", "keys/app.key/requestToken"),
        ("POST", "keys/app.key/revokeTokens"),
        ("GET", "channels/a"),
        ("GET", "channels/a/messages"),
        ("POST", "channels/a/messages"),
        ("GET", "channels/a/presence"),
        ("GET", "channels/a/presence/history"),
    ]
)
QUERIES = st.dictionaries(
    st.sampled_from(
        ["limit", "start", "end", "direction", "after", "clientId", "from_serial", "channels", "enveloped"]
    ),
    st.text(max_size=6) | st.sampled_from(["1", "100", "forwards", "backwards", "false", "a,b"]),
    max_size=3,
)


def answer(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except AblyError as error:
        return error.info()


@given(PATHS, VALUES, QUERIES, st.sampled_from(["json", "msgpack"]))
def test_every_request_is_answered_or_refused(
    place: tuple[str, str],
    value: Any,
    query: dict[str, str],
    format: Format,  # noqa: A002
) -> None:
    """Kills: any check of a body's or parameter's type left out, and an answer that cannot be written."""
    method, path = place
    request = Request(
        method=method,
        path=path.split("/"),
        query=query,
        headers={
            "authorization": f"Basic {base64.b64encode(b'app.key:secret').decode()}",
            "content-type": "application/x-msgpack",
        },
        body=to_msgpack(value),
        format=format,
    )
    rest = new_rest()
    for _ in range(2):
        response = answer(lambda: rest.respond(request).value)
        assert pack(response, format)


@given(VALUES)
def test_every_description_of_an_app_is_taken_or_refused(value: Any) -> None:
    """Kills: a type that is not checked."""
    response = answer(lambda: describe(parse_blueprint(value).app, host="x", tls=False))
    assert pack(response, "json")
