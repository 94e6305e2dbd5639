"""From the token request that the application has signed to a token, at Ably: one POST, at the first host that answers.

The SDK would do it too, and then could not be told that the answer comes too late. What is found here serves for the
connection as well: a host that gives tokens is up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

from tanstack_realtime import ConnectionLostError, HttpResponse
from tanstack_realtime._json import decode_json, encode_json

if TYPE_CHECKING:
    from tanstack_realtime import Http

    from ._grant import Grant

__all__ = ["exchange"]

_HEADERS: Final = {"content-type": "application/json", "accept": "application/json", "x-ably-version": "5"}
_AT_MOST: Final = 4
"""Hosts that are tried; as many as the SDK's."""


async def exchange(http: Http, grant: Grant, hosts: Sequence[str], /) -> tuple[str, Mapping[str, Any]]:
    """Return the host that answered, and the details of the token.

    Raises:
        ConnectionLostError: no host answered, or Ably refused the request.
    """
    scheme = "https" if grant.tls else "http"
    path = f"/keys/{quote(str(grant.token_request.get('keyName')), safe='')}/requestToken"
    body = encode_json(dict(grant.token_request)).encode()
    failure = ConnectionLostError("there is no host to ask for a token", reason="no host")
    for host in hosts[:_AT_MOST]:
        where = f"{scheme}://{host}{path}"
        try:
            response = await http("POST", where, headers=_HEADERS, body=body)
        except ConnectionLostError as error:
            failure = error
            continue
        details = _object(response.body)
        if response.status < 300 and isinstance(details.get("token"), str):
            return host, details
        failure = _refused(where, response, details)
        if response.status < 500:
            break
    raise failure


def _refused(where: str, response: HttpResponse, body: Mapping[str, Any]) -> ConnectionLostError:
    details: object = body.get("error")
    named: Mapping[str, Any] = cast("dict[str, Any]", details) if isinstance(details, dict) else {}
    reason = str(named.get("message") or f"HTTP {response.status}")
    code = str(named.get("code") or response.status)
    return ConnectionLostError(f"{where} gave no token: {reason} ({code})", code=code, reason=reason)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        parsed: object = decode_json(body)
    except ValueError:
        return {}
    return cast("Mapping[str, Any]", parsed) if isinstance(parsed, dict) else {}
