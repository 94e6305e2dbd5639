"""The forms of a token: opaque ones and JWTs, and the signed requests that opaque ones are made from.

An opaque token carries what it grants, signed by the secret of its key. The emulator so keeps no list of tokens, and
one that is started again with the same key knows the tokens of the one before, as Ably would.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from ._access import Access, Key
from ._capability import Capability
from ._errors import AblyError, bad_request
from ._plain import from_json

__all__ = [
    "MAX_TOKEN",
    "MIN_NONCE",
    "TokenRequest",
    "decode_jwt",
    "decode_token",
    "encode_token",
    "is_jwt",
    "key_id_of",
    "kid_of",
    "opaque_parts",
]

MAX_TOKEN: Final = 128 * 1024
"""The longest token or JWT that is read, in characters."""

MIN_NONCE: Final = 16

_MAC: Final = 32
_HASHES: Final = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
_PURPOSE: Final = b"ably emulator: opaque token"


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a client shows to get a token, as it came: https://ably.com/docs/api/token-request-spec.

    Attributes:
        key_name: ``appId.keyId``.
        ttl: Milliseconds that the token shall live, ``None`` for the default.
        capability: JSON text, ``None`` for all that the key has.
        client_id: Whose token it will be.
        timestamp: When it was made, in milliseconds since the epoch.
        nonce: A text that is used once.
        mac: The signature, ``None`` for a request that is sent with the key itself.
    """

    key_name: str
    ttl: int | None = None
    capability: str | None = None
    client_id: str | None = None
    timestamp: int | None = None
    nonce: str | None = None
    mac: str | None = None

    @classmethod
    def parse(cls, value: object) -> TokenRequest:
        """Read a request from a decoded body.

        Raises:
            AblyError: 40000 if a field has the wrong type.
        """
        if not isinstance(value, Mapping):
            raise bad_request("a token request is an object")
        fields = cast("Mapping[object, object]", value)
        return cls(
            key_name=_text(fields, "keyName") or "",
            ttl=_number(fields, "ttl"),
            capability=_text(fields, "capability"),
            client_id=_text(fields, "clientId"),
            timestamp=_number(fields, "timestamp"),
            nonce=_text(fields, "nonce"),
            mac=_text(fields, "mac"),
        )

    def signed_by(self, key: Key) -> bool:
        """Tell whether the mac is that of the key, over the fields as they came."""
        fields = (self.key_name, self.ttl, self.capability, self.client_id, self.timestamp, self.nonce)
        text = "".join(f"{'' if field is None else field}\n" for field in fields)
        mac = hmac.digest(key.secret.encode(), text.encode(), "sha256")
        return hmac.compare_digest(base64.b64encode(mac), (self.mac or "").encode())


def encode_token(key: Key, *, client_id: str | None, capability: Capability, issued: int, expires: int) -> str:
    """Return a new opaque token."""
    claims = [issued, expires, capability.to_json(), client_id, secrets.token_hex(8)]
    packed = zlib.compress(json.dumps(claims, separators=(",", ":")).encode())
    blob = b"".join((bytes([len(key.key_id)]), key.key_id.encode(), packed))
    return f"{key.app_id}.{base64.urlsafe_b64encode(_seal(key, blob) + blob).decode().rstrip('=')}"


def key_id_of(blob: bytes) -> str:
    """Return the id of the key that made an opaque token, before the token is believed."""
    length = blob[_MAC] if len(blob) > _MAC else 0
    return blob[_MAC + 1 : _MAC + 1 + length].decode("ascii", "replace")


def decode_token(key: Key, blob: bytes) -> Access | None:
    """Return what an opaque token grants, ``None`` if the key did not make it."""
    mac, signed = blob[:_MAC], blob[_MAC:]
    if not hmac.compare_digest(mac, _seal(key, signed)):
        return None
    issued, expires, capability, client_id, token_id = json.loads(zlib.decompress(signed[1 + len(key.key_id) :]))
    return Access(
        app_id=key.app_id,
        key_name=key.name,
        capability=Capability.parse(capability),
        client_id=client_id,
        token_id=token_id,
        issued=issued,
        expires=expires,
        revocable=key.revocable,
    )


def is_jwt(token: str) -> bool:
    """Tell a JWT from an opaque token by its form."""
    return token.count(".") == 2


def kid_of(token: str) -> str:
    """Return the key name in the header of a JWT, before the JWT is believed.

    Raises:
        AblyError: 40144 if the header cannot be read or names no key.
    """
    kid = _object(token.split(".")[0]).get("kid")
    if not isinstance(kid, str):
        raise _invalid('its header has no "kid" with the name of the key, appId.keyId')
    return kid


def decode_jwt(key: Key, token: str) -> Access:
    """Return what a JWT grants.

    Raises:
        AblyError: 40144 if its signature or its claims are wrong. Expiry is not looked at.
    """
    header, payload, signature = token.split(".")
    algorithm = _HASHES.get(str(_object(header).get("alg")))
    if algorithm is None:
        raise _invalid(f'"alg" is one of {", ".join(_HASHES)}')
    expected = hmac.new(key.secret.encode(), f"{header}.{payload}".encode(), algorithm).digest()
    if not hmac.compare_digest(_b64(signature), expected):
        raise _invalid("the signature does not match the key")
    claims = _object(payload)
    issued, expires = _seconds(claims, "iat"), _seconds(claims, "exp")
    asked = _claim(claims, "x-ably-capability")
    capability = key.capability if asked is None else Capability.parse(asked).intersect(key.capability)
    return Access(
        app_id=key.app_id,
        key_name=key.name,
        capability=capability,
        client_id=_claim(claims, "x-ably-clientId"),
        token_id=hashlib.sha256(token.encode()).hexdigest(),
        issued=issued,
        expires=expires,
        revocable=key.revocable,
        revocation_key=_claim(claims, "x-ably-revocation-key"),
    )


def opaque_parts(token: str) -> tuple[str, bytes]:
    """Return the app id and the signed bytes of an opaque token.

    Raises:
        AblyError: 40101 if it has another form.
    """
    app_id, dot, text = token.partition(".")
    try:
        if not dot:
            raise ValueError(token)
        blob = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise AblyError("this is not a token of this server, nor a JWT", 40101) from None
    return app_id, blob


def _seal(key: Key, blob: bytes) -> bytes:
    secret = hmac.digest(key.secret.encode(), _PURPOSE, "sha256")
    return hmac.digest(secret, key.app_id.encode() + b"." + blob, "sha256")


def _text(fields: Mapping[object, object], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise bad_request(f"{name} of a token request is a string, not {type(value).__name__}")
    return value


def _number(fields: Mapping[object, object], name: str) -> int | None:
    value = fields.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise bad_request(f"{name} of a token request is a whole number of milliseconds, not {value!r}")
    return value


def _invalid(reason: str) -> AblyError:
    return AblyError(f"invalid JWT: {reason}", 40144)


def _b64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise _invalid("a part of it is not base64url") from None


def _object(text: str) -> Mapping[str, object]:
    try:
        value = from_json(_b64(text).decode())
    except ValueError:
        raise _invalid("a part of it is not JSON") from None
    if not isinstance(value, dict):
        raise _invalid("a part of it is not an object")
    return cast("dict[str, object]", value)


def _seconds(claims: Mapping[str, object], name: str) -> int:
    value = claims.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 2**53 / 1000:
        raise _invalid(f'"{name}" is required, in seconds since the epoch')
    return int(value * 1000)


def _claim(claims: Mapping[str, object], name: str) -> str | None:
    value = claims.get(name)
    if value is not None and not isinstance(value, str):
        raise _invalid(f'"{name}" is a string')
    return value or None
