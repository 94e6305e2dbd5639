"""`server_fn`: what it accepts, how it names things, and that the function stays what it was."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import pytest

from tanstack_start import ServerFunctions, UsageError, server_fn

if TYPE_CHECKING:
    from decimal import Decimal


@server_fn
async def double(number: int) -> int:
    """Return twice the number."""
    return 2 * number


@server_fn(method="GET", path="billing/monthly")
async def monthly(year: int = 2026) -> list[int]:
    return [year]


@server_fn
async def only_for_checkers(price: Decimal) -> None: ...


def logged(fn: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(fn)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return await fn(*args, **kwargs)

    return call


def serve(*functions: Any) -> ServerFunctions:
    return ServerFunctions(*functions, get_user=lambda request: None)


def module(**members: object) -> ModuleType:
    made = ModuleType("made")
    vars(made).update(members)
    return made


async def test_the_function_stays_plainly_callable() -> None:
    assert await double(21) == 42
    assert await double(number=21) == 42
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'number'"):
        await double()  # type: ignore[call-arg]


def test_the_function_looks_like_the_one_that_was_written() -> None:
    assert inspect.iscoroutinefunction(double)
    assert str(inspect.signature(double)) == "(number: 'int') -> 'int'"
    assert double.__doc__ == "Return twice the number."


def test_paths_are_module_and_function_or_what_was_given() -> None:
    name = __name__.rpartition(".")[2]

    assert serve(double, monthly).paths == {f"/{name}/double": "POST", "/billing/monthly": "GET"}


def test_a_program_run_as_main_has_the_name_it_is_imported_by(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None: ...

    work.__module__ = "__main__"
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)

    assert list(serve(server_fn(work)).paths) == ["/main/work"]
    main.__file__ = "/srv/shop.py"
    assert list(serve(server_fn(work)).paths) == ["/shop/work"]
    main.__spec__ = __import__("importlib").machinery.ModuleSpec("app.api.__main__", None)
    assert list(serve(server_fn(work)).paths) == ["/api/work"]


def test_a_module_stands_for_what_it_defines_and_what_it_lists() -> None:
    async def own() -> None: ...

    own.__module__ = "made"
    passed_on = module(own=server_fn(own), double=double)
    assert list(serve(passed_on).paths) == ["/made/own"]

    passed_on.__dict__["__all__"] = ["double"]
    assert len(serve(passed_on).paths) == 2


def test_one_function_listed_twice_is_one_function() -> None:
    assert len(serve(double, double).paths) == 1


def test_two_functions_with_one_path_are_refused() -> None:
    @server_fn(path="billing/monthly")
    async def other() -> None: ...

    with pytest.raises(UsageError, match=r"monthly and .*other have the same path 'billing/monthly'; give one another"):
        serve(monthly, other)


def test_what_is_not_a_server_function_is_refused() -> None:
    async def plain() -> None: ...

    with pytest.raises(UsageError, match="is not a server function; mark it with @server_fn"):
        serve(plain)
    with pytest.raises(UsageError, match="module 'made' has no server function"):
        serve(module(plain=plain))
    with pytest.raises(UsageError, match="pass the modules"):
        serve()


def test_a_decorator_above_the_mark_is_refused_since_it_would_be_passed_by() -> None:
    checked = logged(double)
    with pytest.raises(UsageError, match="put @server_fn on top"):
        serve(checked)
    with pytest.raises(UsageError, match="put @server_fn on top"):
        serve(module(__all__=["checked"], checked=checked))


async def test_a_decorator_below_the_mark_runs() -> None:
    calls: list[str] = []

    def counted(fn: Callable[[int], Awaitable[int]]) -> Any:
        @functools.wraps(fn)
        async def call(number: int) -> int:
            calls.append("call")
            return await fn(number)

        return call

    async def triple(number: int) -> int:
        return 3 * number

    assert await server_fn(counted(triple))(2) == 6
    assert calls == ["call"]


def not_async() -> None: ...


async def unannotated(  # type: ignore[no-untyped-def]
    number,  # pyright: ignore[reportMissingParameterType,reportUnknownParameterType]
) -> None: ...


async def no_result(number: int): ...  # type: ignore[no-untyped-def]


async def variadic(*numbers: int) -> None: ...


async def keywords(**numbers: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (not_async, "not_async must be written with `async def`"),
        (cast("Any", unannotated), "annotate parameter 'number' of unannotated"),
        (no_result, "annotate the result of no_result; write `-> None`"),
        (variadic, r"variadic takes \*numbers: '?int'?; give every parameter a name"),
        (keywords, r"keywords takes \*\*numbers: '?int'?; give every parameter a name"),
    ],
)
def test_a_function_that_cannot_be_served_is_refused_where_it_is_written(function: Any, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        server_fn(function)


def test_method_and_path_are_checked() -> None:
    with pytest.raises(UsageError, match='choose "GET" or "POST"'):
        server_fn(method="PUT")  # type: ignore[call-overload]
    for path in ("", "/a", "a/", "a b", "a/{id}", "../a"):
        with pytest.raises(UsageError, match="write names joined by"):
            server_fn(path=path)


def test_types_that_exist_only_for_the_checkers_are_named() -> None:
    with pytest.raises(UsageError, match=r"name 'Decimal' is not defined.*outside `if TYPE_CHECKING:`"):
        serve(only_for_checkers)


class Opaque: ...


async def opaque(value: Opaque) -> None: ...


def test_types_that_pydantic_does_not_know_are_named() -> None:
    with pytest.raises(UsageError, match=r"opaque: .*Opaque"):
        serve(server_fn(opaque))
