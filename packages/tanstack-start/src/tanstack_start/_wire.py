"""The body of an answer that is not a result. Version 1; receivers ignore members that they do not know.

::

    {"error": {"kind": "application", "code": "NotFound", "message": "…", "fields": {…}}}
    {"error": {"kind": "validation", "problems": [{"path": [...], "message": "…", "kind": "…"}]}}
    {"error": {"kind": "failed", "error_id": "…"}}
    {"error": {"kind": "refused", "code": "bad_origin", "message": "…"}}

A result is ``{"result": …}``. Arguments are one JSON object: the body of a POST, the query parameter ``args`` of a GET.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json
from typing_extensions import TypedDict

from ._errors import FieldProblem, FunctionCallError, RemoteError, ServerFnError, ValidationFailed, error_class

__all__ = ["Answer", "decode_error", "encode_error"]

Answer: TypeAlias = tuple[int, bytes]
"""HTTP status and body."""


class _Error(TypedDict):
    kind: Literal["application", "validation", "failed", "refused"]
    code: NotRequired[str]
    message: NotRequired[str]
    fields: NotRequired[dict[str, Any]]
    problems: NotRequired[list[FieldProblem]]
    error_id: NotRequired[str]


class _Body(TypedDict):
    error: _Error


_body: TypeAdapter[_Body] = TypeAdapter(_Body)


def encode_error(error: ServerFnError | FunctionCallError) -> Answer:
    """Return the answer for an error.

    Raises:
        UsageError: an application's error does not hold what its annotations promise.
    """
    match error:
        case ServerFnError():
            status, body = error.status, _Error(kind="application", code=error.code, message=error.message)
            body["fields"] = error.wire_fields()
        case ValidationFailed():
            status, body = 422, _Error(kind="validation", problems=list(error.problems))
        case RemoteError():
            status, body = 500, _Error(kind="failed", error_id=error.error_id)
        case _:
            status, body = error.status or 400, _Error(kind="refused", code=error.code, message=str(error))
    return status, to_json({"error": body})


def decode_error(function: str, status: int, body: bytes) -> ServerFnError | FunctionCallError | None:
    """Return the error that an answer holds, or None where it is not from a `ServerFunctions`.

    Args:
        function: the path that was called.
        status: HTTP status of the answer.
        body: its body.
    """
    try:
        error = _body.validate_json(body)["error"]
        match error["kind"]:
            case "application":
                return _application_error(error)
            case "validation":
                return ValidationFailed(function, error.get("problems", ()), status=status)
            case "failed":
                return RemoteError(function, error.get("error_id", ""), status=status)
            case "refused":
                code, message = error.get("code", "refused"), error.get("message", "refused")
                return FunctionCallError(f"{function}: {message}", function=function, code=code, status=status)
    except ValidationError:
        return None


def _application_error(error: _Error) -> ServerFnError:
    code, message, fields = error.get("code", "ServerFnError"), error.get("message", ""), error.get("fields", {})
    known = error_class(code)
    if known is not None:
        return known.from_wire(message, to_json(fields))
    unknown = ServerFnError.restore(message, {})
    unknown.code, unknown.fields = code, fields
    return unknown
