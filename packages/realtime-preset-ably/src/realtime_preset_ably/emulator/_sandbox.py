"""Apps made over HTTP, as the test suites of Ably's SDKs make theirs.

``POST /apps`` takes the description that those suites send: keys, namespaces, and channels with presence members that
are there from the beginning. It needs no credentials, since there are none yet.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from ._access import App, Key, Namespace
from ._capability import Capability
from ._errors import bad_request

__all__ = ["Blueprint", "describe", "new_app", "parse_blueprint"]

MAX_ITEMS: Final = 100
"""How many keys, namespaces, channels and members of a channel a description may hold."""

EVERYTHING: Final = {"[*]*": ["*"]}
"""The capability of the key that belongs to whoever starts the server."""

_DEFAULT: Final = {"*": ["*"]}
_Object: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """An app to be, checked.

    Attributes:
        app: The app with its keys.
        members: Presence members by channel, as they were described.
    """

    app: App
    members: Mapping[str, Sequence[_Object]]


def new_app(app_id: str, key_id: str, secret: str) -> App:
    """Return an app with one key that may do everything, and whose tokens can be revoked."""
    key = Key(app_id, key_id, secret, Capability.parse(EVERYTHING), revocable=True)
    return App(app_id, {key_id: key})


def parse_blueprint(value: object) -> Blueprint:
    """Read a description, and choose names and secrets for what it describes.

    Raises:
        AblyError: 40000 if it is malformed.
    """
    spec = _object(value, "an app")
    app_id = _name()
    keys = [_key(app_id, _object(item, "a key")) for item in _items(spec, "keys")]
    namespaces = [
        Namespace(_text(item, "id", "a namespace"), persisted=item.get("persisted") is True)
        for item in (_object(item, "a namespace") for item in _items(spec, "namespaces"))
    ]
    members: dict[str, Sequence[_Object]] = {}
    for item in _items(spec, "channels"):
        channel = _object(item, "a channel")
        members[_text(channel, "name", "a channel")] = [
            _object(member, "a presence member") for member in _items(channel, "presence")
        ]
    app = App(app_id, {key.key_id: key for key in keys}, {namespace.id: namespace for namespace in namespaces})
    return Blueprint(app, members)


def describe(app: App, *, host: str, tls: bool) -> _Object:
    """Return the answer to the creation of an app: its keys with their secrets, and where it is served.

    Args:
        app: The new app.
        host: The ``Host`` that the request was sent to.
        tls: Whether it came over TLS.
    """
    name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    return {
        "appId": app.app_id,
        "accountId": "emulator",
        "keys": [
            {
                "id": key.key_id,
                "value": key.secret,
                "keyName": key.name,
                "keySecret": key.secret,
                "keyStr": str(key),
                "capability": key.capability.to_json(),
                "revocableTokens": key.revocable,
            }
            for key in app.keys.values()
        ],
        "namespaces": [{"id": found.id, "persisted": found.persisted} for found in app.namespaces.values()],
        "endpoint": name or host,
        "port": int(port) if port.isdecimal() else 443 if tls else 80,
        "tls": tls,
    }


def _key(app_id: str, spec: _Object) -> Key:
    asked = spec.get("capability")
    capability = Capability.parse(_DEFAULT if asked is None else asked)
    return Key(app_id, _name(), secrets.token_urlsafe(32), capability, revocable=spec.get("revocableTokens") is True)


def _name() -> str:
    return secrets.token_hex(3)


def _object(value: object, what: str) -> _Object:
    if not isinstance(value, dict):
        raise bad_request(f"{what} is described by an object")
    return cast("dict[str, Any]", value)


def _items(spec: _Object, name: str) -> Sequence[object]:
    found: object = spec.get(name)
    if found is None:
        return ()
    if not isinstance(found, list):
        raise bad_request(f"{name} is a list")
    items = cast("list[object]", found)
    if len(items) > MAX_ITEMS:
        raise bad_request(f"{name} holds at most {MAX_ITEMS} items, not {len(items)}")
    return items


def _text(spec: _Object, name: str, what: str) -> str:
    value = spec.get(name)
    if not isinstance(value, str) or not value:
        raise bad_request(f"{name} of {what} is a text")
    return value
