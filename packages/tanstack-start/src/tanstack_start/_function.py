"""`server_fn`, and what both ends know about a server function."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from pathlib import PurePath
from types import ModuleType
from typing import Any, Final, Literal, ParamSpec, TypeAlias, TypeVar, get_type_hints, overload

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError

from ._errors import FieldProblem, UsageError, ValidationFailed, problems_of
from ._layers import resolve
from ._typed import dict_adapter

__all__ = ["FunctionSpec", "Functions", "Method", "server_fn", "specs_of"]

P = ParamSpec("P")
R = TypeVar("R")

Method: TypeAlias = Literal["GET", "POST"]
Functions: TypeAlias = ModuleType | Callable[..., Coroutine[Any, Any, Any]]
"""A module of server functions, or one of them."""

_ATTRIBUTE: Final = "__server_fn__"
_PATH: Final = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")


@overload
def server_fn(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, Coroutine[Any, Any, R]]: ...
@overload
def server_fn(
    *, method: Method = "POST", path: str | None = None
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]: ...
def server_fn(fn: Any = None, /, *, method: Method = "POST", path: str | None = None) -> Any:
    """Mark an async function as a server function.

    In the server it stays what it is: call it, test it, reuse it. `ServerFunctions` serves it over HTTP, and in a
    process that called `connect_functions` the same call goes there.

    Args:
        fn: an ``async def`` function whose parameters and result are annotated with types that pydantic knows. It has
            no ``*args`` and no ``**kwargs``.
        method: ``"GET"`` for a function that only reads and may run any number of times: callers repeat it, and its
            arguments travel in the URL. ``"POST"`` for everything else.
        path: where it is mounted. Default: ``"<module>/<function>"``, with the last part of the module's name.

    Raises:
        UsageError: the function cannot be served; the message says why.
    """
    if method not in ("GET", "POST"):
        raise UsageError(f'server_fn(method={method!r}): choose "GET" or "POST"')
    if path is not None and not _PATH.fullmatch(path):
        raise UsageError(f'server_fn(path={path!r}): write names joined by "/", for example "billing/monthly"')

    def decorate(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        spec = FunctionSpec(function, method, path)

        @functools.wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> R:
            caller = resolve(spec)
            if caller is None:
                return await function(*args, **kwargs)
            result: R = await caller.call(spec, args, kwargs)
            return result

        spec.public = call
        setattr(call, _ATTRIBUTE, spec)
        return call

    return decorate if fn is None else decorate(fn)


class FunctionSpec:
    """What both ends know about one server function.

    Attributes:
        function: the function as written.
        public: the function that `server_fn` returned.
        path: where it is mounted, without a leading slash.
        method: ``"GET"`` or ``"POST"``.
    """

    public: Callable[..., Any]

    def __init__(self, function: Callable[..., Coroutine[Any, Any, Any]], method: Method, path: str | None) -> None:
        name = getattr(function, "__qualname__", repr(function))
        if not inspect.iscoroutinefunction(function):
            raise UsageError(f"server_fn: {name} must be written with `async def`")
        self.function = function
        self.method: Method = method
        self.path = path or f"{_module_name(function.__module__)}/{function.__name__}"
        self.signature = inspect.signature(function)
        for parameter in self.signature.parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise UsageError(f"server_fn: {name} takes {parameter}; give every parameter a name of its own")
            if parameter.annotation is parameter.empty:
                raise UsageError(f"server_fn: annotate parameter {parameter.name!r} of {name}")
        if self.signature.return_annotation is inspect.Signature.empty:
            raise UsageError(f"server_fn: annotate the result of {name}; write `-> None` where there is none")

    def check(self) -> None:
        """Build what is needed to serve or call the function.

        Raises:
            UsageError: an annotation cannot be used.
        """
        _ = self._adapters

    def encode_arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Return the JSON of a call's arguments. Defaults are left to the server.

        Raises:
            TypeError: the arguments are too many, too few or misnamed, as in any call.
            ValidationFailed: they do not fit the annotations.
        """
        try:
            arguments = self.signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{self.function.__name__}(): {error}") from None
        adapter, _ = self._adapters
        try:
            adapter.validate_python(arguments, strict=True)
            return adapter.dump_json(arguments, by_alias=True, round_trip=True, warnings="error")
        except ValidationError as error:
            raise ValidationFailed(self.path, problems_of(error)) from None
        except PydanticSerializationError as error:
            raise ValidationFailed(self.path, [FieldProblem((), str(error), "not_json")]) from None

    def decode_arguments(self, body: bytes | str) -> inspect.BoundArguments:
        """Return the arguments of a call from their JSON.

        Raises:
            ValidationFailed: they do not fit the annotations.
        """
        adapter, _ = self._adapters
        try:
            arguments = adapter.validate_json(body, strict=True)
        except ValidationError as error:
            raise ValidationFailed(self.path, problems_of(error)) from None
        return inspect.BoundArguments(self.signature, OrderedDict(arguments))

    def encode_result(self, result: object) -> bytes:
        """Return the JSON of an answer.

        Raises:
            UsageError: the result is not what the function's annotation says.
        """
        _, adapter = self._adapters
        try:
            return adapter.dump_json({"result": result}, by_alias=True, round_trip=True, warnings="error")
        except PydanticSerializationError as error:
            raise UsageError(f"{self.path} returned what its annotation does not promise: {error}") from None

    def decode_result(self, body: bytes) -> Any:
        """Return the result from the JSON of an answer.

        Raises:
            pydantic.ValidationError: it is not what the function's annotation says.
        """
        _, adapter = self._adapters
        return adapter.validate_json(body, strict=True)["result"]

    @functools.cached_property
    def _adapters(self) -> tuple[TypeAdapter[dict[str, Any]], TypeAdapter[dict[str, Any]]]:
        # Not before first use: annotations may name what is defined further down in the module.
        try:
            hints = get_type_hints(self.function, include_extras=True)
            result = hints.pop("return")
            parameters = self.signature.parameters
            arguments = {
                name: (hint, parameters[name].default is inspect.Parameter.empty) for name, hint in hints.items()
            }
            return dict_adapter(self.path, arguments), dict_adapter(self.path, {"result": (result, True)})
        except NameError as error:
            raise UsageError(
                f"{self.path}: {error}. Types of parameters and results are needed at run time: import them outside "
                "`if TYPE_CHECKING:`"
            ) from error
        except PydanticUserError as error:
            raise UsageError(f"{self.path}: {error}") from error


def specs_of(items: Iterable[Functions]) -> list[FunctionSpec]:
    """Return the server functions of modules and of single functions, each once.

    Raises:
        UsageError: something is not a server function, or two of them have one path.
    """
    found: dict[str, FunctionSpec] = {}
    for item in items:
        for spec in _specs_of_module(item) if isinstance(item, ModuleType) else [_require_spec(item)]:
            other = found.setdefault(spec.path, spec)
            if other is not spec:
                raise UsageError(
                    f"{_where(other)} and {_where(spec)} have the same path {spec.path!r}; give one another: "
                    '@server_fn(path="…")'
                )
    return list(found.values())


def _specs_of_module(module: ModuleType) -> list[FunctionSpec]:
    """Return what the module defines, and what its `__all__` passes on."""
    listed: Iterable[str] = getattr(module, "__all__", ())

    def find() -> Iterator[FunctionSpec]:
        for name, value in vars(module).items():
            spec = _spec(value)
            if spec is not None and (spec.function.__module__ == module.__name__ or name in listed):
                yield _require_spec(value)

    specs = list(find())
    if not specs:
        raise UsageError(f"module {module.__name__!r} has no server function; mark one with @server_fn")
    return specs


def _spec(value: object) -> FunctionSpec | None:
    # A class may answer to any attribute, so only the real thing counts.
    spec = getattr(value, _ATTRIBUTE, None) if callable(value) else None
    return spec if isinstance(spec, FunctionSpec) else None


def _require_spec(value: object) -> FunctionSpec:
    spec = _spec(value)
    if spec is None:
        raise UsageError(f"{value!r} is not a server function; mark it with @server_fn, or pass its module")
    if spec.public is not value:
        # functools.wraps copies the mark. Serving the inner function would go past what the outer one checks.
        raise UsageError(f"{_where(spec)} has a decorator above @server_fn; put @server_fn on top")
    return spec


def _where(spec: FunctionSpec) -> str:
    return f"{spec.function.__module__}.{spec.function.__qualname__}"


def _module_name(name: str) -> str:
    """Return the last part of a module's name; for a program that runs as ``__main__`` the name it is imported by."""
    if name == "__main__":
        main = sys.modules["__main__"]
        if main.__spec__ is not None:
            name = main.__spec__.name.removesuffix(".__main__")
        else:
            name = PurePath(getattr(main, "__file__", None) or "main").stem
    return name.rpartition(".")[2]
