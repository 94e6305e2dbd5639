"""Who may do what: the values that authentication gives, and the keys that it starts from.

:class:`~realtime_preset_ably.emulator._authority.Authority` makes an :class:`Access` of a key or a token; everything
behind it asks the access and never looks at credentials again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ._capability import Capability
from ._errors import AblyError, denied

__all__ = ["ANY", "Access", "App", "Key", "Namespace", "parse_key"]

ANY: Final = "*"
"""The client id of those who may act as any client."""

_KEY: Final = re.compile(r"([\w-]{1,64})\.([\w-]{1,64}):([^\s:]{1,256})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Key:
    """An API key.

    Attributes:
        app_id: The app that it belongs to.
        key_id: Its name within the app.
        secret: What signs token requests and JWTs.
        capability: What it may do, and so the most that its tokens may.
        revocable: Whether its tokens can be revoked. They then live for an hour at most.
    """

    app_id: str
    key_id: str
    secret: str = field(repr=False)
    capability: Capability
    revocable: bool = False

    @property
    def name(self) -> str:
        """``appId.keyId``, which is no secret."""
        return f"{self.app_id}.{self.key_id}"

    def __str__(self) -> str:
        return f"{self.name}:{self.secret}"


@dataclass(frozen=True, slots=True)
class Namespace:
    """A rule for the channels whose names begin with ``id:``.

    Attributes:
        id: What stands before the first ``:``, or the channel's whole name.
        persisted: Whether their messages outlive the two minutes of the log.
    """

    id: str
    persisted: bool = False


@dataclass(frozen=True, slots=True)
class App:
    """An application: its keys by their ids, and its namespaces by theirs."""

    app_id: str
    keys: Mapping[str, Key]
    namespaces: Mapping[str, Namespace] = field(default_factory=dict[str, Namespace])

    def persists(self, channel: str) -> bool:
        """Tell whether the messages of a channel are kept."""
        found = self.namespaces.get(channel.partition(":")[0])
        return found is not None and found.persisted


@dataclass(frozen=True, slots=True)
class Access:
    """What a key or a token permits. Times are in milliseconds since the epoch.

    Attributes:
        app_id: The app whose channels these are.
        key_name: The key, or the one that the token was made with.
        capability: Which operations on which channels.
        client_id: Whose token it is; ``"*"`` for a key or a token that may act as anybody, ``None`` for an anonymous
            token, which may not claim to be somebody.
        token_id: Names the token. ``None`` for a key.
        issued: When the token was made; 0 for a key.
        expires: When the token ends. ``None`` for a key.
        revocable: Whether the token can be revoked.
        revocation_key: A group of tokens that are revoked together.
    """

    app_id: str
    key_name: str
    capability: Capability
    client_id: str | None = None
    token_id: str | None = None
    issued: int = 0
    expires: int | None = None
    revocable: bool = False
    revocation_key: str | None = None

    def require(self, operation: str, channel: str) -> None:
        """Do nothing if an operation on a channel is granted.

        Raises:
            AblyError: 40160 if it is not.
        """
        if not self.capability.allows(channel, operation):
            raise denied(operation, channel)

    def identify(self, claimed: str | None) -> str | None:
        """Return the client id of a connection or a request that claims one.

        Args:
            claimed: What the caller says it is. ``None``: nothing.

        Returns:
            The client id; ``None`` for nobody in particular.

        Raises:
            AblyError: 40012 for a ``*``; 40102 if the credentials are another client's, or nobody's.
        """
        if claimed == ANY:
            raise AblyError('"*" is no client id: it stands for any in a token', 40012)
        if claimed in (None, "", self.client_id):
            return None if self.client_id == ANY else self.client_id
        if self.client_id == ANY:
            return claimed
        raise AblyError(f"the credentials do not belong to the client id {claimed!r}", 40102)

    def author(self, claimed: str | None, identity: str | None) -> str | None:
        """Return the client id of a message or a presence member.

        Args:
            claimed: What the message says.
            identity: What :meth:`identify` gave for the connection or the request.

        Returns:
            The client id to stamp; ``None`` for a message without author.

        Raises:
            AblyError: 40012 if the message claims to be another client's.
        """
        if claimed in (None, "", identity):
            return identity
        if claimed == ANY or identity is not None or self.client_id != ANY:
            raise AblyError(f"the client id {claimed!r} is not that of the credentials", 40012)
        return claimed


def parse_key(text: str) -> tuple[str, str, str]:
    """Return app id, key id and secret of ``appId.keyId:secret``.

    Raises:
        AblyError: 40101 if it has another form. The text, which may hold a secret, is not repeated.
    """
    found = _KEY.fullmatch(text)
    if found is None:
        raise AblyError("a key has the form appId.keyId:secret", 40101)
    app_id, key_id, secret = found.groups()
    return app_id, key_id, secret
