"""Server functions: a plain async function on the server, the same call over HTTP in a client.

==================================  =======================================================================
`server_fn`                         marks the function
`ServerFunctions`                   serves it (extra ``server``)
`connect_functions`                 lets calls in this process go there (extra ``client``)
`current_user`, `current_request`   tell a running function who asks; `as_user` says it outside a request
`ServerFnError`                     what a function raises for its callers
==================================  =======================================================================

How it is built, from the bottom up: ``_errors``; ``_function``, what both ends know about a function; ``_layers``,
where a call runs; ``_wire``, how an answer looks; then ``_server`` and ``_client``, which are imported on first use, so
that a server needs no httpx, a client no starlette, and neither to define functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._context import as_user, current_request, current_user
from ._errors import (
    FieldProblem,
    FunctionCallError,
    RemoteError,
    ServerFnError,
    StartError,
    UsageError,
    ValidationFailed,
)
from ._function import server_fn
from ._version import __version__

if TYPE_CHECKING:
    from ._client import FunctionsClient, connect_functions, disconnect_functions
    from ._server import FailedCall, ServerFunctions

__all__ = [
    "FailedCall",
    "FieldProblem",
    "FunctionCallError",
    "FunctionsClient",
    "RemoteError",
    "ServerFnError",
    "ServerFunctions",
    "StartError",
    "UsageError",
    "ValidationFailed",
    "__version__",
    "as_user",
    "connect_functions",
    "current_request",
    "current_user",
    "disconnect_functions",
    "server_fn",
]


def __getattr__(name: str) -> Any:
    if name in ("FunctionsClient", "connect_functions", "disconnect_functions"):
        from . import _client

        return getattr(_client, name)
    if name in ("FailedCall", "ServerFunctions"):
        from . import _server

        return getattr(_server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
