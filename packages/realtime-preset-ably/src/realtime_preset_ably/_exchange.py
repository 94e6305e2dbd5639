"""From the token request that the application has signed to a token, at Ably: one POST, at the first host that answers.

The SDK would do it too, and then could not be told that the answer comes too late. What is found here serves for the
connection as well: a host that gives tokens is up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from tanstack_realtime import ConnectionLostError
from tanstack_realtime._json import as_object, decode_object, encode_json

if TYPE_CHECKING:
    from tanstack_realtime import Http

    from ._grant import Grant

__all__ = ["exchange"]

_HEADERS: Final = {"content-type": "application/json", "accept": "application/json", "x-ably-version": "5"}
_DETAILS: Final[Mapping[str, type]] = {"token": str, "issued": int, "expires": int, "clientId": str}
"""What the SDK needs of a token's details. The capability it would only parse."""
_ADVICE: Final[Mapping[str, str]] = {
    "40101": "; is ABLY_API_KEY of the application still valid?",
    "40104": "; is the clock of the application's server right?",
    "40160": "; which channels and capabilities has the key?",
    "40400": "; is ABLY_ENDPOINT of the application an Ably server, and ABLY_API_KEY a key there?",
}
_AT_MOST: Final = 4
"""Hosts that are tried; as many as the SDK's."""


async def exchange(http: Http, grant: Grant, hosts: Sequence[str], /) -> tuple[str, Mapping[str, Any]]:
    """Return the host that answered, and what the SDK needs of the token's details.

    Raises:
        ConnectionLostError: no host answered, or Ably refused the request.
    """
    scheme = "https" if grant.tls else "http"
    path = f"/keys/{quote(str(grant.token_request.get('keyName')), safe='')}/requestToken"
    body = encode_json(dict(grant.token_request)).encode()
    failure = ConnectionLostError("there is no host to ask for a token", reason="no host")
    for host in hosts[:_AT_MOST]:
        where = f"{scheme}://{host}"
        try:
            response = await http("POST", where + path, headers=_HEADERS, body=body)
        except ConnectionLostError as error:
            reason = f"Ably cannot be reached at {where}: {error.reason or error}"
            failure = ConnectionLostError(f"{reason}; is ABLY_ENDPOINT of the application right?", reason=reason)
            failure.__cause__ = error
            continue
        answer = decode_object(response.body)
        details = {name: answer[name] for name in _DETAILS if answer.get(name) is not None}
        if response.status < 300 and "token" in details and all(type(details[n]) is _DETAILS[n] for n in details):
            return host, details
        failure = _refused(where, response.status, as_object(answer.get("error")))
        if response.status < 500:
            break
    raise failure


def _refused(where: str, status: int, error: Mapping[str, Any]) -> ConnectionLostError:
    code = str(error.get("code") or status)
    reason = f"Ably gave no token: {error.get('message') or f'HTTP {status}'} ({code}){_ADVICE.get(code, '')}"
    return ConnectionLostError(f"{where}: {reason}", code=code, reason=reason)
