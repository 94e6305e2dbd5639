"""`ServerFunctions`: the ASGI application that serves server functions over HTTP."""

from __future__ import annotations

import inspect
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ._context import is_user_id, serving
from ._errors import FunctionCallError, RemoteError, ServerFnError, UsageError
from ._function import Functions, FunctionSpec, specs_of
from ._layers import layer
from ._origin import OriginPolicy
from ._wire import Answer, encode_error

try:
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
    from starlette.routing import Route, Router
except ImportError as error:
    raise ImportError("ServerFunctions needs starlette: pip install 'tanstack-start[server]'") from error

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["FailedCall", "GetUser", "ServerFunctions"]

GetUser: TypeAlias = Callable[[Request], str | None] | Callable[[Request], Awaitable[str | None]]

_logger: Final = logging.getLogger("tanstack_start")

_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


@dataclass(frozen=True)
class FailedCall:
    """A call that failed in the server with something that the caller is not told.

    Attributes:
        function: path of the function.
        user_id: who called, or None.
        error_id: what the caller was told instead; finds this report.
        error: what happened.
    """

    function: str
    user_id: str | None
    error_id: str
    error: Exception


def _log(call: FailedCall) -> None:
    _logger.error("%s failed, error id %s", call.function, call.error_id, exc_info=call.error)


class ServerFunctions:
    """Serves server functions over HTTP: an ASGI 3 application.

    Mount it anywhere: ``Mount("/functions", ServerFunctions(todos, get_user=get_user))``. Each function has the path
    ``<module>/<function>`` below that, and answers one method only.

    Inside a call, `current_user()` and `current_request()` tell who asks, and other functions of this application are
    called in place.

    Args:
        *functions: modules and single functions. A module stands for the server functions that it defines, and for
            those of others that it lists in ``__all__``.
        get_user: ``get_user(request) -> str | None``, sync or async: the id of the user whom a request belongs to, or
            None for nobody. Whether nobody may call is for each function to decide.
        allowed_origins: origins of other sites whose pages may POST, for example ``["https://app.example.com"]``.
            Pages of the server's own host always may. To let them read the answer too, add a CORS middleware.
        max_body_bytes: largest body of a POST.
        on_error: takes calls that failed with something other than a `ServerFnError`. Default: the logger
            ``tanstack_start``.

    Raises:
        UsageError: a function cannot be served, two have the same path, or there is none.
    """

    def __init__(
        self,
        *functions: Functions,
        get_user: GetUser,
        allowed_origins: Iterable[str] | None = None,
        max_body_bytes: int = 1_048_576,
        on_error: Callable[[FailedCall], object] | None = None,
    ) -> None:
        if not callable(get_user):
            raise UsageError(
                f"ServerFunctions(get_user={get_user!r}): pass a function; where everybody is nobody, "
                "get_user=lambda request: None"
            )
        specs = specs_of(functions)
        if not specs:
            raise UsageError("ServerFunctions(): pass the modules of your server functions, or functions")
        for spec in specs:
            spec.check()
        self._functions = frozenset(specs)
        self._get_user = get_user
        self._origins = OriginPolicy(allowed_origins)
        self._max_body_bytes = max_body_bytes
        self._on_error = on_error or _log
        self._router = Router(
            [Route(f"/{spec.path}", self._endpoint(spec), methods=["GET", "POST"]) for spec in specs],
            redirect_slashes=False,
            default=self._not_found,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or lifespan."""
        await self._router(scope, receive, send)

    @property
    def paths(self) -> Mapping[str, str]:
        """The method of each path."""
        return {f"/{spec.path}": spec.method for spec in sorted(self._functions, key=lambda spec: spec.path)}

    def covers(self, spec: FunctionSpec, /) -> bool:
        """Tell whether this application serves the function."""
        return spec in self._functions

    async def call(self, spec: FunctionSpec, args: tuple[Any, ...], kwargs: Mapping[str, Any], /) -> Any:
        """Run a function that another one called, in place."""
        return await spec.function(*args, **kwargs)

    def _endpoint(self, spec: FunctionSpec) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                status, body = await self._answer(spec, request)
            except FunctionCallError as refusal:
                status, body = encode_error(refusal)
            headers = {"allow": spec.method} if status == 405 else {}
            return Response(body, status, {**_HEADERS, **headers}, media_type="application/json")

        return endpoint

    async def _answer(self, spec: FunctionSpec, request: Request) -> Answer:
        self._admit(spec, request)
        arguments = spec.decode_arguments(await self._arguments(spec, request))
        user_id = None
        try:
            user_id = await self._authenticate(request)
            with layer(self), serving(request, user_id):
                try:
                    result = await spec.function(*arguments.args, **arguments.kwargs)
                except ServerFnError as error:
                    return encode_error(error)
            return 200, spec.encode_result(result)
        except Exception as error:  # noqa: BLE001 -- reported here; the caller must not see it
            return encode_error(RemoteError(spec.path, self._report(spec, user_id, error)))

    def _admit(self, spec: FunctionSpec, request: Request) -> None:
        """Refuse a request by its head."""
        if request.method != spec.method and not (request.method == "HEAD" and spec.method == "GET"):
            raise _refusal(spec, 405, "bad_method", f"call it with {spec.method}")
        if spec.method == "GET":
            return
        if not self._origins.allows(request.headers):
            raise _refusal(spec, 403, "bad_origin", "pages of this origin may not call; see allowed_origins")
        # A form on another site can post without asking first, but not with this type.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise _refusal(spec, 415, "bad_media_type", "send the arguments as application/json")

    async def _arguments(self, spec: FunctionSpec, request: Request) -> bytes | str:
        if spec.method == "GET":
            return request.query_params.get("args", "{}")
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > self._max_body_bytes:
                    raise _refusal(
                        spec, 413, "too_large", f"the arguments are larger than {self._max_body_bytes} bytes"
                    )
        except ClientDisconnect:
            raise _refusal(spec, 400, "disconnected", "the caller went away") from None
        return bytes(body)

    async def _authenticate(self, request: Request) -> str | None:
        user: object = self._get_user(request)
        if inspect.isawaitable(user):
            user = await user
        if not is_user_id(user):
            raise UsageError(
                f"get_user returned {user!r}; return the user's id as a non-empty str (for example str(user.id)), or "
                "None for nobody"
            )
        return user

    def _report(self, spec: FunctionSpec, user_id: str | None, error: Exception) -> str:
        failed = FailedCall(spec.path, user_id, secrets.token_hex(8), error)
        try:
            self._on_error(failed)
        except Exception:
            _log(failed)
            _logger.exception("on_error raised")
        return failed.error_id

    async def _not_found(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await Router()(scope, receive, send)
            return
        message = "the server has no such function; pass its module to ServerFunctions"
        status, body = encode_error(FunctionCallError(message, function="", code="unknown_function", status=404))
        await Response(body, status, _HEADERS, media_type="application/json")(scope, receive, send)


def _refusal(spec: FunctionSpec, status: int, code: str, message: str) -> FunctionCallError:
    return FunctionCallError(message, function=spec.path, code=code, status=status)
