"""Errors of tanstack-start.

* StartError
  * UsageError            the program is wrong; the message says what to write instead
  * ServerFnError         raised by the application's functions; its subclasses arrive in the client as themselves
  * FunctionCallError     a remote call that gave no result: network, refusal, unusable answer
    * ValidationFailed    the arguments do not fit the function's annotations
    * RemoteError         the function failed in the server; what happened is known there only

Each carries the facts as attributes and says what to do.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from ._typed import dict_adapter

__all__ = [
    "FieldProblem",
    "FunctionCallError",
    "RemoteError",
    "ServerFnError",
    "StartError",
    "UsageError",
    "ValidationFailed",
    "error_class",
]

_classes: Final[dict[str, type[ServerFnError]]] = {}


class StartError(Exception):
    """Root of every error that tanstack-start raises."""


class UsageError(StartError):
    """The program is wrong; the message says what to write instead."""


class ServerFnError(StartError):
    """An outcome that callers of a server function should see, with its type.

    Subclass it, and annotate what the error carries. Raise it in a server function, and the remote caller catches the
    same class, with the same message and fields. Both ends must have imported the subclass; a client that has not gets
    a plain `ServerFnError` with the `code` and the `fields`.

    Example:
        >>> class NotFound(ServerFnError, status=404):
        ...     todo_id: str
        >>> raise NotFound("there is no such todo", todo_id="t1")

    Class keywords:
        code: the error's name on the wire. Default: the name of the class. Give one where two classes share a name.
        status: HTTP status of the answer, 400 to 499. Default: 400.

    Args:
        message: for people. Default: the code.
        **fields: a value for each annotated field, in any type that pydantic can write as JSON. A field with a class
            attribute of its name is optional.

    Attributes:
        message: the message.
        code: the error's name on the wire.
        fields: the fields by name.

    Raises:
        UsageError: fields are missing, unknown or of the wrong type; or, where the class is made, the code is taken.
    """

    code: str = "ServerFnError"
    status: ClassVar[int] = 400
    message: str
    fields: Mapping[str, Any]
    _adapter: ClassVar[TypeAdapter[dict[str, Any]] | None] = None

    def __init_subclass__(cls, *, code: str | None = None, status: int | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.code = code or cls.__name__
        cls._adapter = None
        for name in inspect.get_annotations(cls):
            if hasattr(ServerFnError, name) or name in ServerFnError.__annotations__:
                raise UsageError(f"{cls.__qualname__}: every error has {name!r} already; give the field another name")
        if status is not None:
            if not 400 <= status <= 499:
                raise UsageError(f"{cls.__qualname__}: status={status}; choose one from 400 to 499")
            cls.status = status
        other = _classes.get(cls.code)
        # The same class again is a reload of its module.
        if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise UsageError(
                f"{cls.__module__}.{cls.__qualname__} and {other.__module__}.{other.__qualname__} have the same code "
                f'{cls.code!r}; give one another: class {cls.__name__}(ServerFnError, code="…")'
            )
        _classes[cls.code] = cls

    def __init__(self, message: str | None = None, /, **fields: Any) -> None:
        super().__init__(self.code if message is None else message)
        try:
            self._fields_adapter().validate_python(fields, strict=True)
        except ValidationError as error:
            raise UsageError(f"{type(self).__name__}: {describe(problems_of(error))}") from None
        self._set(fields)

    @classmethod
    def restore(cls, message: str, fields: Mapping[str, Any]) -> Self:
        """Make the error from valid parts, without the subclass's own `__init__`."""
        error = cls.__new__(cls, message)
        error._set(fields)
        return error

    @classmethod
    def from_wire(cls, message: str, fields: bytes) -> Self:
        """Make the error from JSON fields.

        Raises:
            pydantic.ValidationError: the fields are not those of this class.
        """
        return cls.restore(message, cls._fields_adapter().validate_json(fields, strict=True))

    def wire_fields(self) -> dict[str, Any]:
        """Return the fields as JSON values.

        Raises:
            UsageError: a field was changed into something that does not fit its annotation.
        """
        try:
            adapter = self._fields_adapter()
            dumped: dict[str, Any] = adapter.dump_python(
                dict(self.fields), mode="json", by_alias=True, round_trip=True, warnings="error"
            )
        except PydanticSerializationError as error:
            raise UsageError(f"{type(self).__name__}: {error}") from None
        return dumped

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).restore, (self.message, dict(self.fields))

    def _set(self, fields: Mapping[str, Any]) -> None:
        self.message = str(self)
        self.fields = dict(fields)
        for name, value in fields.items():
            setattr(self, name, value)

    @classmethod
    def _fields_adapter(cls) -> TypeAdapter[dict[str, Any]]:
        if cls._adapter is None:
            cls._adapter = dict_adapter(
                cls.__name__,
                {
                    name: (hint, not hasattr(cls, name))
                    for name, hint in get_type_hints(cls, include_extras=True).items()
                    if get_origin(hint) is not ClassVar and name not in ServerFnError.__annotations__
                },
            )
        return cls._adapter


_classes["ServerFnError"] = ServerFnError


def error_class(code: str) -> type[ServerFnError] | None:
    """Return the class with this code, or None where nobody imported it."""
    return _classes.get(code)


@dataclass(frozen=True)
class FieldProblem:
    """One thing that is wrong with an argument.

    Attributes:
        path: the parameter's name, then names and indexes inside its value.
        message: what is wrong.
        kind: pydantic's word for it, for example ``"int_type"``.
    """

    path: tuple[str | int, ...]
    message: str
    kind: str


def problems_of(error: ValidationError) -> tuple[FieldProblem, ...]:
    """Return what pydantic found. The refused values are left out: they may be secrets."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return tuple(FieldProblem(item["loc"], item["msg"], item["type"]) for item in found)


def describe(problems: Sequence[FieldProblem]) -> str:
    """Return the problems in one line."""
    return "; ".join(f"{'.'.join(str(step) for step in item.path) or 'arguments'}: {item.message}" for item in problems)


class FunctionCallError(StartError):
    """A remote call that gave no result.

    Attributes:
        function: the function's path on the server, for example ``"todos/add_todo"``.
        code: a stable word: ``"unreachable"``, ``"timeout"``, ``"bad_response"``, ``"bad_origin"``, ``"too_large"``, …
        status: HTTP status of the answer, or None without one.
        retryable: whether the same call can be made again later without running twice what must run once. True where
            the request did not reach the function, and for every function with ``method="GET"`` that the server did
            not refuse.
    """

    def __init__(
        self, message: str, *, function: str, code: str, status: int | None = None, retryable: bool = False
    ) -> None:
        super().__init__(message)
        self.function = function
        self.code = code
        self.status = status
        self.retryable = retryable


class ValidationFailed(FunctionCallError):
    """The arguments do not fit the function's annotations. The function did not run.

    Attributes:
        problems: what is wrong, field by field.
    """

    def __init__(self, function: str, problems: Sequence[FieldProblem], *, status: int | None = None) -> None:
        super().__init__(f"{function}: {describe(problems)}", function=function, code="invalid", status=status)
        self.problems = tuple(problems)


class RemoteError(FunctionCallError):
    """The function failed in the server with something that is not a `ServerFnError`.

    What happened is not sent; the server reported it, under the same id, through its ``on_error``.

    Attributes:
        error_id: finds the report on the server.
    """

    def __init__(self, function: str, error_id: str, *, status: int | None = None) -> None:
        super().__init__(
            f"{function} failed in the server; its report there has the id {error_id or '(unknown)'}",
            function=function,
            code="failed",
            status=status,
        )
        self.error_id = error_id
