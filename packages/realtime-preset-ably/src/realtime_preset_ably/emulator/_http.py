"""HTTP as the REST half needs it: a request with a bounded body, and answers in the reader's format.

Paths are cut and decoded from ASGI's ``raw_path``. In ``path`` a ``%2F`` of a channel's name is a ``/`` already.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, unquote

from ._errors import AblyError, bad_request
from ._plain import from_json, from_msgpack
from ._wire import Format, pack

__all__ = ["MAX_BODY", "Receive", "Request", "Response", "Scope", "Send", "error_response", "read_request"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY: Final = 1024 * 1024
"""The largest body that is read, in bytes."""

MAX_PARAMETERS: Final = 100

_PORT: Final = re.compile(r":\d+", re.ASCII)
_MEDIA: Final[Mapping[Format, str]] = {"json": "application/json", "msgpack": "application/x-msgpack"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request, read whole.

    Attributes:
        method: ``GET`` and so on.
        path: The decoded segments of the path.
        query: Parameters by name; of repeated ones the last.
        headers: Values by lower-case name; of repeated ones the last.
        body: The bytes.
        format: What the answer is written in.
    """

    method: str
    path: Sequence[str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    format: Format

    def value(self) -> Any:
        """Decode the body by its content type.

        Raises:
            AblyError: 40000 if it is not what it says.
        """
        media = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            if media == _MEDIA["msgpack"]:
                return from_msgpack(self.body)
            if media in ("", _MEDIA["json"]):
                return from_json(self.body.decode())
        except ValueError as error:
            raise bad_request(f"the body is not {media or 'JSON'}: {error}") from None
        raise AblyError(f"a body is application/json or application/x-msgpack, not {media}", 41500)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. Without a value it has no body."""

    status: int
    value: object = None
    headers: Iterable[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    async def send(self, send: Send, format: Format) -> None:  # noqa: A002 - the protocol's own name
        """Send it.

        Args:
            send: ASGI's send.
            format: How to write the value.
        """
        body = b""
        headers = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in self.headers]
        if self.value is not None:
            packed = pack(self.value, format)
            body = packed.encode("utf-8", "replace") if isinstance(packed, str) else packed
            headers.append((b"content-type", _MEDIA[format].encode()))
        if self.status != 204:
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def error_response(error: AblyError) -> Response:
    """Return an error as REST answers with it."""
    message = " ".join(error.message.split())
    headers = [("x-ably-errorcode", str(error.code)), ("x-ably-errormessage", message)]
    return Response(error.status, {"error": error.info()}, headers)


def accepted(scope: Scope) -> Format:
    """Return the format that a request wants its answer in: the first that ``Accept`` names and we have, else JSON."""
    for media in _headers(scope).get("accept", "").split(","):
        name = media.partition(";")[0].strip().lower()
        if name == _MEDIA["msgpack"]:
            return "msgpack"
        if name == _MEDIA["json"]:
            return "json"
    return "json"


async def read_request(scope: Scope, receive: Receive) -> Request:
    """Read a request.

    Raises:
        AblyError: 41300 if the body is too large, 40000 if the client went away or the query is unreasonable.
    """
    body = bytearray()
    more = True
    while more:
        event = await receive()
        if event["type"] != "http.request":
            raise bad_request("the client went away before its request was complete")
        body += event.get("body", b"")
        if len(body) > MAX_BODY:
            raise AblyError(f"a body has at most {MAX_BODY} bytes", 41300)
        more = event.get("more_body", False)
    try:
        pairs = parse_qsl(
            scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS
        )
    except ValueError:
        raise bad_request(f"a query has at most {MAX_PARAMETERS} parameters") from None
    return Request(
        method=scope["method"],
        path=segments(scope),
        query=dict(pairs),
        headers=_headers(scope),
        body=bytes(body),
        format=accepted(scope),
    )


def segments(scope: Scope) -> list[str]:
    """Return the decoded segments of a path.

    A first segment ``:80`` is dropped. It is what ably-python makes of an endpoint that ends with a slash, which is the
    way to give its WebSocket a port.
    """
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    found = [unquote(segment) for segment in raw.decode("latin-1").strip("/").split("/")]
    return found[1:] if _PORT.fullmatch(found[0]) else found


def credentials(request: Request) -> tuple[str | None, str | None]:
    """Return the key and the token that a request shows. At most one is not ``None``.

    Raises:
        AblyError: 40101 for an ``Authorization`` that is neither Basic nor Bearer.
    """
    header = request.headers.get("authorization")
    if header is None:
        key = request.query.get("key")
        token = request.query.get("access_token", request.query.get("accessToken"))
        return (key, None) if key is not None else (None, token)
    scheme, _, text = header.partition(" ")
    match scheme.lower():
        case "basic":
            return _base64(text), None
        case "bearer":
            # Dots are not of base64's alphabet, and every token has one.
            return None, text.strip() if "." in text else _base64(text)
        case _:
            raise AblyError("Authorization is Basic with a key, or Bearer with a token", 40101)


def claimed_client(request: Request) -> str | None:
    """Return the client id that the header ``X-Ably-ClientId`` claims, which is base64."""
    header = request.headers.get("x-ably-clientid")
    return None if header is None else _base64(header)


def _base64(text: str) -> str:
    try:
        return base64.b64decode(text.strip(), validate=True).decode()
    except (ValueError, binascii.Error):
        raise AblyError("invalid credentials: not base64", 40101) from None


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
