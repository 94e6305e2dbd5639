"""The remote end: calls of server functions go over HTTP."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Self, TypeAlias, cast

from pydantic import ValidationError

from ._errors import FunctionCallError, UsageError
from ._function import Functions, FunctionSpec, specs_of
from ._layers import defaults, layer
from ._wire import decode_error

try:
    import httpx
except ImportError as error:
    raise ImportError("connect_functions needs httpx: pip install 'tanstack-start[client]'") from error

__all__ = ["FunctionsClient", "GetToken", "Headers", "connect_functions", "disconnect_functions"]

GetToken: TypeAlias = Callable[[], str | None] | Callable[[], Awaitable[str | None]]
Headers: TypeAlias = Mapping[str, str] | Callable[[], Mapping[str, str]]

# What common servers and proxies accept as a request line without being configured.
_MAX_URL_BYTES: Final = 8000

# What every HTTP library sends as it is: printable ASCII without spaces around it.
_TOKEN: Final = re.compile(r"([!-~]([ !-~]*[!-~])?)?")

# The request did not reach a function: the connection was not made.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# The server says that it did not do it.
_TRY_LATER: Final = (429, 503)


def _check_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
        usable = parsed.scheme in ("http", "https") and bool(parsed.host) and not parsed.query and not parsed.fragment
    except httpx.InvalidURL:
        usable = False
    if not usable:
        raise UsageError(f'{url!r} is not where functions are: pass a URL such as "https://example.com/functions"')
    return url


class FunctionsClient:
    """Makes calls of server functions over HTTP.

    A client does nothing until it is in charge: `connect_functions` makes one for the whole process, and `activate`
    puts one on top in the current context.

    Args:
        url: where the server mounts its `ServerFunctions`, for example ``"https://example.com/functions"``.
        *functions: modules and functions that this client is for; every other function stays as it is. Default: every
            server function.
        headers: sent with every call; or a function that is asked for them at each call.
        get_token: sync or async; its result is sent as ``Authorization: Bearer …``. Asked at each call. None: not sent.
        http: the client to send with, which stays the caller's to close: for cookies, proxies, or an in-process
            ``httpx.ASGITransport``. Default: one of its own.
        timeout: seconds that connecting and each wait for data may take. Only without `http`, which has its own.

    Raises:
        UsageError: the URL is not one, something passed is not a server function, or `get_token` is no function.
    """

    def __init__(
        self,
        url: str,
        *functions: Functions,
        headers: Headers | None = None,
        get_token: GetToken | None = None,
        http: httpx.AsyncClient | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._url = _check_url(url).rstrip("/")
        if get_token is not None and not callable(cast("object", get_token)):
            raise UsageError("get_token= is a function that returns a token: write get_token=lambda: token")
        # None: all of them, also those that are not imported yet.
        self._functions = frozenset(specs_of(functions)) if functions else None
        for spec in self._functions or ():
            spec.check()
        self._headers = headers
        self._get_token = get_token
        self._owned = httpx.AsyncClient(timeout=timeout) if http is None else None
        self._http = http if http is not None else self._owned
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._closed

    def activate(self) -> AbstractContextManager[None]:
        """Put this client in charge, for the ``with`` block and for the tasks that are started in it.

        Example:
            >>> async with FunctionsClient(url) as client:
            ...     with client.activate():
            ...         await add_todo("p1", "milk")
        """
        return layer(self)

    async def aclose(self) -> None:
        """Close the connections. Later calls raise instead of running in this process. Idempotent."""
        self._closed = True
        if self._owned is not None:
            await self._owned.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def covers(self, spec: FunctionSpec, /) -> bool:
        """Tell whether this client is for the function."""
        return self._functions is None or spec in self._functions

    async def call(self, spec: FunctionSpec, args: tuple[Any, ...], kwargs: Mapping[str, Any], /) -> Any:
        """Call a function on the server.

        Raises:
            ServerFnError: the function raised it.
            ValidationFailed: the arguments do not fit.
            RemoteError: the function failed.
            FunctionCallError: there is no result for another reason.
            UsageError: the client is closed, or `get_token` returned what cannot be sent.
        """
        if self._closed or self._http is None:
            raise UsageError(f"{spec.path}: the client for {self._url} is closed; call connect_functions again")
        request = self._request(self._http, spec, spec.encode_arguments(args, kwargs), await self._extra_headers())
        try:
            response = await self._http.send(request, follow_redirects=False)
        except httpx.RequestError as error:
            raise self._no_answer(spec, error) from error
        return self._result(spec, response)

    def _request(
        self, http: httpx.AsyncClient, spec: FunctionSpec, arguments: bytes, extra: dict[str, str]
    ) -> httpx.Request:
        url = f"{self._url}/{spec.path}"
        if spec.method == "POST":
            extra["content-type"] = "application/json"
            return http.build_request("POST", url, content=arguments, headers=extra)
        query = {"args": arguments.decode()} if arguments != b"{}" else None
        request = http.build_request("GET", url, params=query, headers=extra)
        if len(request.url.raw_path) > _MAX_URL_BYTES:
            raise FunctionCallError(
                f'{spec.path}: the arguments are too long for a URL; declare it with method="POST"',
                function=spec.path,
                code="too_large",
            )
        return request

    async def _extra_headers(self) -> dict[str, str]:
        headers = {"accept": "application/json"}
        if self._headers is not None:
            headers.update(self._headers() if callable(self._headers) else self._headers)
        if self._get_token is not None:
            given = self._get_token()
            token = cast("object", await given if inspect.isawaitable(given) else given)
            if token is not None:
                if not isinstance(token, str) or not _TOKEN.fullmatch(token):
                    raise UsageError(
                        "get_token must return None or a str of printable ASCII without spaces around it; strip() what "
                        "was read from a file, and encode what is not ASCII, for example as base64"
                    )
                headers["authorization"] = f"Bearer {token}"
        return headers

    def _no_answer(self, spec: FunctionSpec, error: httpx.RequestError) -> FunctionCallError:
        match error:
            case httpx.TimeoutException():
                code, what = "timeout", "did not answer in time"
            case httpx.TransportError():
                code, what = "unreachable", "cannot be reached"
            case _:
                code, what = "bad_response", "gave an answer that cannot be read"
        return FunctionCallError(
            f"{spec.path}: {self._url} {what}: {error}",
            function=spec.path,
            code=code,
            retryable=spec.method == "GET" or isinstance(error, _NOT_SENT),
        )

    def _result(self, spec: FunctionSpec, response: httpx.Response) -> Any:
        status = response.status_code
        if status == 200:
            try:
                return spec.decode_result(response.content)
            except ValidationError as error:
                problem = str(error)
        else:
            failure = decode_error(spec.path, status, response.content)
            if failure is not None:
                raise failure
            problem = f"HTTP {status} {response.reason_phrase}"
        raise FunctionCallError(
            f"{spec.path}: the answer is not one of a ServerFunctions: {problem}. Is it mounted at {self._url}?",
            function=spec.path,
            code="bad_response",
            status=status,
            retryable=status in _TRY_LATER or (status >= 500 and spec.method == "GET"),
        )


def connect_functions(
    url: str,
    *functions: Functions,
    headers: Headers | None = None,
    get_token: GetToken | None = None,
    http: httpx.AsyncClient | None = None,
    timeout: float = 30.0,
) -> FunctionsClient:
    """Let calls of server functions go over HTTP, in the whole process.

    Call it once, where the program starts; no event loop is needed. Called again for other functions it adds a second
    server; for the same functions the newest client is in charge.

    Args:
        url: see `FunctionsClient`, as for the others.
        *functions: modules and functions that are called there. Default: every server function.
        headers: sent with every call; or a function that is asked for them at each call.
        get_token: sync or async; its result is sent as ``Authorization: Bearer …``.
        http: the client to send with. Default: one of its own.
        timeout: seconds that connecting and each wait for data may take.

    Returns:
        The client, to close it where the program ends.
    """
    client = FunctionsClient(url, *functions, headers=headers, get_token=get_token, http=http, timeout=timeout)
    defaults.append(client)
    return client


async def disconnect_functions() -> None:
    """Close every client that `connect_functions` made. Calls run in this process again.

    For tests and interactive sessions. A program that ends closes its client instead: then a late call raises, and does
    not run in the wrong process.
    """
    clients = [item for item in defaults if isinstance(item, FunctionsClient)]
    defaults.clear()
    for client in clients:
        await client.aclose()
