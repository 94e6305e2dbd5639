"""Authentication: keys, tokens and their end.

Everything is decided from what the caller shows, the keys of the apps, and three short-lived memories: the token
requests that were used, the revocations, and the tokens that a test ended early. Each is bounded.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NotRequired, TypeAlias, TypedDict

from . import _tokens
from ._access import ANY, Access, App, Key, parse_key
from ._capability import Capability
from ._errors import AblyError, bad_request
from ._tokens import TokenRequest

__all__ = ["Authority", "Revocation", "RevocationResult", "TokenDetails"]

HOUR: Final = 3_600_000
DEFAULT_TTL: Final = HOUR
MAX_TTL: Final = 24 * HOUR
MAX_REVOCABLE_TTL: Final = HOUR
MAX_SKEW: Final = 120_000
"""How far the timestamp of a token request may be from now, and so how long a used request is remembered twice over."""

REAUTH_MARGIN: Final = 30_000
MAX_APPS: Final = 1000
MAX_TARGETS: Final = 100
MAX_REMEMBERED: Final = 100_000
"""Entries in each memory. A full one refuses what would need another entry."""


class TokenDetails(TypedDict):
    """The answer to a token request. ``clientId`` is absent from an anonymous token."""

    token: str
    keyName: str
    issued: int
    expires: int
    capability: str
    clientId: NotRequired[str]


RevocationResult: TypeAlias = Mapping[str, Any]
"""What became of one ``target``: either ``issuedBefore`` and ``appliesAt``, or ``error``."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """The end of some tokens. Times are in milliseconds since the epoch.

    Attributes:
        key_name: The key whose tokens these are.
        kind: ``clientId`` or ``revocationKey``.
        value: The client id or revocation key.
        issued_before: Tokens that are made from this moment on stay valid.
        applies_at: When they end: now, or 30 s later, which gives clients time to get another token.
    """

    key_name: str
    kind: str
    value: str
    issued_before: int
    applies_at: int

    def covers(self, access: Access) -> bool:
        """Tell whether a token is one of those that end."""
        value = access.client_id if self.kind == "clientId" else access.revocation_key
        return (
            access.revocable
            and access.key_name == self.key_name
            and value == self.value
            and access.issued < self.issued_before
        )


class Authority:
    """The apps of a server, and who may enter them.

    Attributes:
        apps: The apps by their ids.
    """

    apps: dict[str, App]

    def __init__(self, clock: Callable[[], int]) -> None:
        """Start without any app.

        Args:
            clock: Returns the time in milliseconds since the epoch.
        """
        self.apps = {}
        self._now = clock
        self._used: dict[tuple[str, int, str], int] = {}
        self._revocations: dict[tuple[str, str, str], list[Revocation]] = {}
        self._ended: dict[str, tuple[AblyError, int]] = {}
        self._listeners: list[Callable[[Revocation], None]] = []

    def add(self, app: App) -> None:
        """Add an app, or replace it.

        Raises:
            AblyError: 42910 if there are too many.
        """
        if app.app_id not in self.apps and len(self.apps) >= MAX_APPS:
            raise AblyError(f"there are {MAX_APPS} apps already; delete one first", 42910)
        self.apps[app.app_id] = app

    def on_revoked(self, listener: Callable[[Revocation], None]) -> None:
        """Call a function with every revocation, at the moment it is asked for."""
        self._listeners.append(listener)

    def key(self, name: str) -> Key:
        """Return the key of a name.

        Raises:
            AblyError: 40400 if there is no such app or key.
        """
        app_id, _, key_id = name.partition(".")
        app = self.apps.get(app_id)
        if app is None:
            raise AblyError(f"there is no app {app_id!r}", 40400)
        key = app.keys.get(key_id)
        if key is None:
            raise AblyError(f"there is no key {name!r}", 40400)
        return key

    def by_key(self, text: str) -> Access:
        """Return what a key ``appId.keyId:secret`` permits.

        Raises:
            AblyError: 40101 if it is not a key of this server.
        """
        app_id, key_id, secret = parse_key(text)
        app = self.apps.get(app_id)
        key = app.keys.get(key_id) if app is not None else None
        if key is None or not hmac.compare_digest(key.secret.encode(), secret.encode()):
            raise AblyError("invalid credentials: this is not a key of this server", 40101)
        return Access(app_id=app_id, key_name=key.name, capability=key.capability, client_id=ANY)

    def by_token(self, token: str) -> Access:
        """Return what a token or a JWT permits.

        Raises:
            AblyError: 40101 or 40144 if it cannot be read, 40400 if its app or key does not exist, 40101 if that key
                did not make it, 40142 if it has expired, 40141 if it was revoked.
        """
        if len(token) > _tokens.MAX_TOKEN:
            raise AblyError(f"a token has at most {_tokens.MAX_TOKEN} characters", 40101)
        if _tokens.is_jwt(token):
            access = _tokens.decode_jwt(self.key(_tokens.kid_of(token)), token)
            self._check_times(access)
        else:
            app_id, blob = _tokens.opaque_parts(token)
            found = _tokens.decode_token(self.key(f"{app_id}.{_tokens.key_id_of(blob)}"), blob)
            if found is None:
                raise AblyError("invalid credentials: the token was not made by this server's key", 40101)
            access = found
        self.check(access)
        return access

    def check(self, access: Access) -> None:
        """Do nothing if a key or token that was valid still is.

        Raises:
            AblyError: 40142 if it has expired, 40141 if it was revoked, 40101 if its app or key was deleted.
        """
        now = self._now()
        app_id, _, key_id = access.key_name.partition(".")
        app = self.apps.get(app_id)
        if app is None or key_id not in app.keys:
            raise AblyError("invalid credentials: the app or the key was deleted", 40101)
        if access.token_id is None or access.expires is None:
            return
        if access.expires <= now:
            raise AblyError("the token has expired", 40142)
        if access.token_id in self._ended:
            # Raised again and again, it would otherwise grow by a traceback each time.
            raise self._ended[access.token_id][0].with_traceback(None)
        for kind, value in (("clientId", access.client_id), ("revocationKey", access.revocation_key)):
            found = self._revocations.get((access.key_name, kind, value or ""), ())
            if any(revocation.covers(access) and revocation.applies_at <= now for revocation in found):
                raise AblyError("the token was revoked", 40141)

    def request_token(self, key_name: str, body: object, caller: Access | None = None) -> TokenDetails:
        """Answer a token request.

        Args:
            key_name: The key in the URL.
            body: The decoded body.
            caller: Who sends it, if it came with credentials. Only the key itself may send an unsigned request.

        Returns:
            The token and what it grants.

        Raises:
            AblyError: 40000 to 40003 for a malformed one, 40101 for a wrong signature or none, 40104 for one that is
                older or newer than two minutes, 40105 for one that was used, 40160 if nothing would be granted.
        """
        request = TokenRequest.parse(body)
        key = self.key(key_name)
        if request.key_name and request.key_name != key_name:
            raise bad_request(f"the request is for the key {request.key_name!r}, the URL for {key_name!r}")
        if request.mac is not None:
            self._check_signature(key, request)
        elif caller is None or caller.token_id is not None or caller.key_name != key_name:
            raise AblyError("a token request has a mac, or comes with the key itself", 40101)
        now = self._now()
        longest = MAX_REVOCABLE_TTL if key.revocable else MAX_TTL
        ttl = DEFAULT_TTL if request.ttl is None else request.ttl
        if not 0 < ttl <= longest:
            raise AblyError(f"a ttl is between 1 and {longest} ms, not {ttl}", 40003)
        capability = key.capability
        if request.capability:
            capability = Capability.parse(request.capability).intersect(capability)
        if not capability:
            raise AblyError("the key has nothing of what the token request asks for", 40160)
        client_id = request.client_id or None
        token = _tokens.encode_token(key, client_id=client_id, capability=capability, issued=now, expires=now + ttl)
        if request.mac is not None:
            self._use(request, now)
        details: TokenDetails = {
            "token": token,
            "keyName": key_name,
            "issued": now,
            "expires": now + ttl,
            "capability": capability.to_json(),
        }
        if client_id is not None:
            details["clientId"] = client_id
        return details

    def revoke(
        self,
        key_name: str,
        targets: Iterable[str],
        *,
        issued_before: int | None = None,
        allow_reauth_margin: bool = False,
    ) -> list[RevocationResult]:
        """End tokens of a key.

        Args:
            key_name: The key, which must have revocable tokens.
            targets: At most 100 of ``clientId:...`` and ``revocationKey:...``.
            issued_before: Spare tokens that were made at or after this time, in milliseconds since the epoch. Default:
                now. At most an hour ago.
            allow_reauth_margin: End them in 30 s, so that clients can get another token before.

        Returns:
            One result per target.

        Raises:
            AblyError: 40164 if they are not revocable, 40000 if the request makes no sense for any target.
        """
        key, now, wanted = self.key(key_name), self._now(), list(targets)
        if not key.revocable:
            raise AblyError(f"the tokens of the key {key_name!r} are not revocable", 40164)
        if not 0 < len(wanted) <= MAX_TARGETS:
            raise bad_request(f"a revocation has 1 to {MAX_TARGETS} targets, not {len(wanted)}")
        before = now if issued_before is None else issued_before
        if not now - HOUR <= before <= now:
            raise bad_request("issuedBefore lies within the last hour")
        self._forget_revocations(now)
        applies_at = now + REAUTH_MARGIN if allow_reauth_margin else now
        return [self._revoke(key, target, before, applies_at) for target in wanted]

    def end(self, access: Access, error: AblyError) -> None:
        """Refuse one token from now on, as a test wants it: expired, revoked or unknown."""
        now = self._now()
        if access.token_id is None or access.expires is None:
            raise ValueError("a key does not end")
        self._ended = {token: entry for token, entry in self._ended.items() if entry[1] > now}
        self._ended[access.token_id] = (error, access.expires)

    def _check_signature(self, key: Key, request: TokenRequest) -> None:
        if not request.signed_by(key):
            raise AblyError("invalid credentials: the mac is not that of the request and the key", 40101)
        if request.nonce is None or len(request.nonce) < _tokens.MIN_NONCE:
            raise bad_request(f"the nonce of a token request has {_tokens.MIN_NONCE} or more characters")
        if request.timestamp is None or abs(request.timestamp - self._now()) > MAX_SKEW:
            raise AblyError("the timestamp of a token request is not within two minutes of now", 40104)
        if (key.name, request.timestamp, request.nonce) in self._used:
            raise AblyError("the token request was used before; make another", 40105)

    def _use(self, request: TokenRequest, now: int) -> None:
        if len(self._used) >= MAX_REMEMBERED:
            self._used = {entry: until for entry, until in self._used.items() if until >= now}
        if len(self._used) >= MAX_REMEMBERED:
            raise AblyError("too many token requests within two minutes", 42910)
        timestamp = request.timestamp or 0
        self._used[request.key_name, timestamp, request.nonce or ""] = timestamp + MAX_SKEW

    def _check_times(self, access: Access) -> None:
        lifetime = (access.expires or 0) - access.issued
        longest = MAX_REVOCABLE_TTL if access.revocable else MAX_TTL
        if not 0 < lifetime <= longest:
            raise AblyError(f"invalid JWT: exp is between 1 and {longest // 1000} s after iat", 40144)
        if access.issued > self._now() + MAX_SKEW:
            raise AblyError("invalid JWT: iat lies in the future", 40144)

    def _revoke(self, key: Key, target: str, before: int, applies_at: int) -> RevocationResult:
        kind, colon, value = target.partition(":")
        if not colon or not value or kind not in ("clientId", "revocationKey"):
            error = bad_request("a target is clientId:... or revocationKey:...")
            return {"target": target, "error": error.info()}
        entry = (key.name, kind, value)
        found = self._revocations.get(entry, [])
        if len(found) >= MAX_TARGETS or (not found and len(self._revocations) >= MAX_REMEMBERED):
            return {"target": target, "error": AblyError("too many revocations within an hour", 42910).info()}
        revocation = Revocation(key.name, kind, value, before, applies_at)
        self._revocations[entry] = [*found, revocation]
        for listener in self._listeners:
            listener(revocation)
        return {"target": target, "issuedBefore": before, "appliesAt": applies_at}

    def _forget_revocations(self, now: int) -> None:
        """Drop what covers expired tokens only: a revocable token lives an hour at most."""
        kept = {
            entry: [revocation for revocation in found if revocation.issued_before + MAX_REVOCABLE_TTL > now]
            for entry, found in self._revocations.items()
        }
        self._revocations = {entry: found for entry, found in kept.items() if found}
