"""The REST API: one function per resource, behind one table of paths.

https://ably.com/docs/api/rest-api
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, cast

from ._access import Access
from ._authority import Authority
from ._errors import AblyError, bad_request
from ._http import Request, Response, claimed_client, credentials
from ._resources import Resources

__all__ = ["Rest"]

_Result: TypeAlias = Mapping[str, Any]
_Handler: TypeAlias = Callable[[Request, str], Response]

MAX_CHANNELS: Final = 100
"""How many channels one batch may name, in each of at most as many specifications."""


class Rest:
    """Answers requests. It does no I/O: a request is whole, and its answer is ready at once."""

    def __init__(self, authority: Authority, channels: Resources, clock: Callable[[], int]) -> None:
        """Answer for some apps.

        Args:
            authority: Who may do what.
            channels: Where it happens.
            clock: Returns the time in milliseconds since the epoch.
        """
        self._authority = authority
        self._channels = channels
        self._now = clock
        self._routes: Mapping[tuple[str | None, ...], Mapping[str, _Handler]] = {
            ("time",): {"GET": self._time},
            ("stats",): {"GET": self._stats},
            ("messages",): {"POST": self._publish_batch},
            ("presence",): {"GET": self._presence_batch},
            ("keys", None, "requestToken"): {"POST": self._request_token},
            ("keys", None, "revokeTokens"): {"POST": self._revoke_tokens},
            ("channels", None): {"GET": self._status},
            ("channels", None, "messages"): {"GET": self._history, "POST": self._publish},
            ("channels", None, "presence"): {"GET": self._presence},
            ("channels", None, "presence", "history"): {"GET": self._presence_history},
        }

    def respond(self, request: Request) -> Response:
        """Answer a request.

        Raises:
            AblyError: What to answer with instead.
        """
        path = tuple(request.path)
        # The one variable segment of a path is its second.
        methods = self._routes.get(path) or self._routes.get((*path[:1], None, *path[2:]))
        if methods is None:
            raise AblyError(f"there is no {'/' + '/'.join(path)!r} in this server; its README lists what is", 40400)
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            raise AblyError(f"{request.method} is not served here, but {' and '.join(methods)}", 40400)
        return handler(request, path[1] if len(path) > 1 else "")

    def access(self, request: Request) -> Access:
        """Return what the credentials of a request permit.

        Raises:
            AblyError: 40101 or another 401 if there are none, or not valid ones.
        """
        key, token = credentials(request)
        if key is not None:
            return self._authority.by_key(key)
        if token is not None:
            return self._authority.by_token(token)
        raise AblyError("a request needs credentials: Authorization: Basic with a key, or Bearer with a token", 40101)

    def _time(self, request: Request, _: str) -> Response:
        return Response(200, [self._now()])

    def _stats(self, request: Request, _: str) -> Response:
        if not self.access(request).capability.allows_anywhere("stats"):
            raise AblyError("the capability does not permit 'stats'", 40160)
        return Response(200, [])

    def _request_token(self, request: Request, key_name: str) -> Response:
        shown = credentials(request) != (None, None)
        caller = self.access(request) if shown else None
        return Response(201, self._authority.request_token(key_name, request.value(), caller))

    def _revoke_tokens(self, request: Request, key_name: str) -> Response:
        caller = self.access(request)
        if caller.token_id is not None:
            raise AblyError("tokens are revoked with the key that they were made of, not with a token", 40162)
        if caller.key_name != key_name:
            raise AblyError("tokens are revoked with the key that they were made of, not with another", 40133)
        body = _object(request.value(), "a revocation")
        before, margin = body.get("issuedBefore"), body.get("allowReauthMargin")
        if before is not None and (not isinstance(before, int) or isinstance(before, bool)):
            raise bad_request("issuedBefore is a whole number of milliseconds")
        results = self._authority.revoke(
            key_name, _texts(body.get("targets"), "targets"), issued_before=before, allow_reauth_margin=margin is True
        )
        return Response(200, _batch(results))

    def _publish(self, request: Request, channel: str) -> Response:
        if request.query.get("_forceNack") == "true":
            raise AblyError("refused, as _forceNack asks", 40099)
        access = self.access(request)
        if request.query.get("enveloped") == "false":
            messages: object = {"name": request.query.get("name"), "data": request.body.decode("utf-8", "replace")}
        else:
            messages = request.value()
        identity = access.identify(claimed_client(request))
        return Response(201, self._channels.publish(access, identity, channel, messages))

    def _history(self, request: Request, channel: str) -> Response:
        return self._channels.history(self.access(request), channel, request)

    def _presence(self, request: Request, channel: str) -> Response:
        return self._channels.presence(self.access(request), channel, request)

    def _presence_history(self, request: Request, channel: str) -> Response:
        return self._channels.presence_history(self.access(request), channel, request)

    def _status(self, request: Request, channel: str) -> Response:
        return Response(200, self._channels.status(self.access(request), channel))

    def _publish_batch(self, request: Request, _: str) -> Response:
        access = self.access(request)
        identity = access.identify(claimed_client(request))
        body = request.value()
        items: Sequence[object] = cast("list[object]", body) if isinstance(body, list) else [body]
        if not 0 < len(items) <= MAX_CHANNELS:
            raise bad_request(f"a batch holds 1 to {MAX_CHANNELS} specifications")
        specs = [_spec(item) for item in items]

        def publish(name: str, messages: object) -> _Result:
            return self._channels.publish(access, identity, name, messages)

        results = [
            _batch([_attempt(name, partial(publish, name, messages)) for name in names]) for names, messages in specs
        ]
        return Response(201, results if isinstance(body, list) else results[0])

    def _presence_batch(self, request: Request, _: str) -> Response:
        access = self.access(request)
        names = [name for name in request.query.get("channels", "").split(",") if name]
        if not 0 < len(names) <= MAX_CHANNELS:
            raise bad_request(f"channels names 1 to {MAX_CHANNELS} channels, separated by commas")

        def members(name: str) -> _Result:
            return {"channel": name, "presence": self._channels.members(access, name, request.format)}

        return Response(200, _batch([_attempt(name, partial(members, name)) for name in names]))


def _attempt(channel: str, action: Callable[[], _Result]) -> _Result:
    try:
        return action()
    except AblyError as error:
        return {"channel": channel, "error": error.info()}


def _batch(results: Sequence[_Result]) -> _Result:
    failures = sum("error" in result for result in results)
    return {"successCount": len(results) - failures, "failureCount": failures, "results": results}


def _spec(item: object) -> tuple[Sequence[str], object]:
    spec = _object(item, "a specification of a batch")
    channels = spec.get("channels")
    names = [channels] if isinstance(channels, str) else _texts(channels, "channels")
    if not 0 < len(names) <= MAX_CHANNELS:
        raise bad_request(f"a specification of a batch names 1 to {MAX_CHANNELS} channels")
    return names, spec.get("messages")


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise bad_request(f"{what} is an object")
    return cast("dict[str, object]", value)


def _texts(value: object, what: str) -> Sequence[str]:
    items = cast("list[object]", value) if isinstance(value, list) else [None]
    texts = [item for item in items if isinstance(item, str)]
    if len(texts) != len(items):
        raise bad_request(f"{what} is a list of texts")
    return texts
