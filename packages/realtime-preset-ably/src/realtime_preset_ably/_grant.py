"""What the application lets a client do: the answer of the token endpoint, and who is asked for it.

::

    POST /ably/token  {"channels": ["chat:room=1", "todos:project_id=7"]}
    200  {"token_request": {…}, "user": "ann", "client_id": "ann", "endpoint": null, "tls": true, "expires_in": 900.0,
          "granted": {"chat:room=1": ["presence", "subscribe"]},
          "denied": {"todos:project_id=7": {"code": "denied", "reason": "…", "retryable": false}}}

The client exchanges the token request for a token at Ably. The token holds what `granted` says, besides `BASE_CHANNEL`,
and never ``publish``: messages pass the application's gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

if TYPE_CHECKING:
    from tanstack_realtime import JSON

__all__ = ["MAX_CHANNELS", "TOKEN_PATH", "Application", "Denial", "Grant"]

MAX_CHANNELS: Final = 100
"""Channels of one token. A connection may attach 200 at Ably, and a channel can have members on a second one."""

TOKEN_PATH: Final = "/ably/token"  # noqa: S105 -- a path

_LONGEST: Final = 86_400.0
"""Seconds that a token holds at most at Ably."""
_OPERATIONS: Final = frozenset({"subscribe", "publish", "presence"})


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a channel is not in the token.

    Attributes:
        code: ``"denied"``, ``"bad_channel"``, or ``"unavailable"`` where the application could not decide.
        reason: for people.
        retryable: whether asking again may help.
    """

    code: str
    reason: str
    retryable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A token request for Ably, and what the token will hold.

    Attributes:
        token_request: signed; good for one token, within two minutes.
        user_id: who it belongs to; empty for nobody.
        client_id: what Ably calls the user.
        endpoint: host, ``host:port`` or the name of a routing policy; None for Ably's own default.
        tls: whether it is reached with TLS.
        expires_in: seconds after which the client asks again. The token holds at least as long.
        granted: operations by wire name.
        denied: the other channels that were asked for.
    """

    token_request: Mapping[str, Any] = field(repr=False)
    user_id: str
    client_id: str
    endpoint: str | None
    tls: bool
    expires_in: float
    granted: Mapping[str, frozenset[str]]
    denied: Mapping[str, Denial]

    def to_json(self) -> dict[str, Any]:
        """Return the answer of the token endpoint."""
        return {
            "token_request": dict(self.token_request),
            "user": self.user_id,
            "client_id": self.client_id,
            "endpoint": self.endpoint,
            "tls": self.tls,
            "expires_in": self.expires_in,
            "granted": {name: sorted(operations) for name, operations in self.granted.items()},
            "denied": {
                name: {"code": denial.code, "reason": denial.reason, "retryable": denial.retryable}
                for name, denial in self.denied.items()
            },
        }

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> Grant:
        """Read an answer of the token endpoint.

        Raises:
            ValueError: it is none; the message says what is wrong.
        """
        endpoint: object = body.get("endpoint")
        if endpoint is not None and not isinstance(endpoint, str):
            raise ValueError(f"endpoint is {endpoint!r}")
        return Grant(
            token_request=_member(body, "token_request", dict),
            user_id=_member(body, "user", str),
            client_id=_member(body, "client_id", str),
            endpoint=endpoint,
            tls=_member(body, "tls", bool),
            expires_in=_seconds(body, "expires_in"),
            granted={name: _operations(value) for name, value in _member(body, "granted", dict).items()},
            denied={name: _denial(value) for name, value in _member(body, "denied", dict).items()},
        )


class Application(Protocol):
    """The application's side as a client reaches it: over HTTP, or by a call in the same process."""

    async def grant(self, channels: Sequence[str], /) -> Grant:
        """Ask for a token that covers these channels, as far as the user may use them.

        Raises:
            AuthenticationError: it does not know us; final.
            RealtimeError: no answer, or no decision; `retryable` tells.
        """
        ...

    async def publish(self, channel: str, data: JSON, link: str, /) -> None:
        """Publish through the gate.

        Args:
            channel: wire name.
            data: the payload.
            link: the link that publishes; its mark comes back with the message.

        Raises:
            ChannelDeniedError: not allowed.
            PublishError: refused, too large, or rate-limited.
            ConnectionLostError: there was no answer; it may have happened or not.
        """
        ...


def _member(body: Mapping[str, Any], name: str, *kinds: type) -> Any:
    value = body.get(name)
    if type(value) not in kinds:  # a bool is no number here
        raise ValueError(f"{name} is {type(value).__name__}")
    return value


def _seconds(body: Mapping[str, Any], name: str) -> float:
    value: int | float = _member(body, name, int, float)
    if not 0 < value < _LONGEST:
        raise ValueError(f"{name} is not from 0 to {_LONGEST:g} seconds")
    return float(value)


def _operations(value: object) -> frozenset[str]:
    if not isinstance(value, list):
        raise ValueError(f"granted holds a {type(value).__name__}")
    return frozenset(item for item in cast("list[object]", value) if isinstance(item, str)) & _OPERATIONS


def _denial(value: object) -> Denial:
    if not isinstance(value, dict):
        raise ValueError(f"denied holds a {type(value).__name__}")
    details = cast("dict[str, Any]", value)
    code, reason = str(details.get("code") or "denied"), str(details.get("reason") or "")
    return Denial(code, reason, details.get("retryable") is True)
