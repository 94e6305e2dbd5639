"""`ServerFnError`: the application's own errors cross the wire with their type."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import httpx
import pytest

from tanstack_start import (
    FailedCall,
    FunctionCallError,
    FunctionsClient,
    RemoteError,
    ServerFnError,
    ServerFunctions,
    StartError,
    UsageError,
    ValidationFailed,
    server_fn,
)

Connect = Callable[..., FunctionsClient]
Http = Callable[[ServerFunctions], httpx.AsyncClient]


class NotFound(ServerFnError, status=404):
    todo_id: UUID
    since: datetime | None = None


class Closed(ServerFnError, code="shop.closed"):
    """Carries nothing."""

    help_page: ClassVar[str] = "/closed"


class Moved(NotFound, code="shop.moved"):
    to: str

    def __init__(self, todo_id: UUID, to: str) -> None:
        super().__init__(f"moved to {to}", todo_id=todo_id, to=to)


@server_fn(path="errors/fail")
async def fail(which: str) -> None:
    match which:
        case "not_found":
            raise NotFound("no such todo", todo_id=UUID(int=7), since=datetime(2026, 1, 1))
        case "closed":
            raise Closed
        case "moved":
            raise Moved(UUID(int=7), "attic")
        case "plain":
            raise ServerFnError("just no")
        case _:
            error = NotFound(todo_id=UUID(int=7))
            error.fields = {"todo_id": 7}
            raise error


failed: list[FailedCall] = []


@pytest.fixture
def app() -> ServerFunctions:
    failed.clear()
    return ServerFunctions(fail, get_user=lambda request: None, on_error=failed.append)


async def caught(app: ServerFunctions, connect: Connect, which: str) -> StartError:
    with connect(app).activate(), pytest.raises(StartError) as caught:
        await fail(which)
    return caught.value


async def test_the_same_class_with_the_same_fields(app: ServerFunctions, connect: Connect) -> None:
    error = await caught(app, connect, "not_found")

    assert type(error) is NotFound
    assert (str(error), error.message) == ("no such todo", "no such todo")
    assert (error.todo_id, error.since) == (UUID(int=7), datetime(2026, 1, 1))
    assert failed == []


async def test_the_message_defaults_to_the_code(app: ServerFunctions, connect: Connect) -> None:
    error = await caught(app, connect, "closed")

    assert type(error) is Closed
    assert str(error) == "shop.closed"


async def test_a_subclass_with_its_own_init(app: ServerFunctions, connect: Connect) -> None:
    error = await caught(app, connect, "moved")

    assert type(error) is Moved
    assert (str(error), error.todo_id, error.to, error.since) == ("moved to attic", UUID(int=7), "attic", None)


async def test_the_root_itself(app: ServerFunctions, connect: Connect) -> None:
    error = await caught(app, connect, "plain")

    assert type(error) is ServerFnError
    assert str(error) == "just no"


async def test_the_status_is_the_class(app: ServerFunctions, http: Http) -> None:
    statuses = [
        (await http(app).post("/errors/fail", json={"which": which})).status_code
        for which in ("not_found", "closed", "moved")
    ]
    assert statuses == [404, 400, 404]


async def test_a_client_that_does_not_know_the_class_keeps_code_and_fields() -> None:
    body = {"error": {"kind": "application", "code": "Newer", "message": "hm", "fields": {"n": 1}, "new": True}}
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(409, json=body)))
    with FunctionsClient("http://a", http=http).activate(), pytest.raises(ServerFnError) as caught:
        await fail("x")

    assert type(caught.value) is ServerFnError
    assert (caught.value.code, str(caught.value), caught.value.fields) == ("Newer", "hm", {"n": 1})
    assert ServerFnError.code == "ServerFnError"


async def test_fields_that_are_not_the_class_are_not_believed() -> None:
    body = {"error": {"kind": "application", "code": "NotFound", "message": "hm", "fields": {"todo_id": 7}}}
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(404, json=body)))
    with FunctionsClient("http://a", http=http).activate(), pytest.raises(FunctionCallError) as caught:
        await fail("x")

    assert caught.value.code == "bad_response"


async def test_fields_spoilt_after_the_raise_are_the_servers_fault(app: ServerFunctions, connect: Connect) -> None:
    assert type(await caught(app, connect, "spoilt")) is RemoteError
    assert isinstance(failed[0].error, UsageError)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "NotFound: todo_id: Field required"),
        ({"todo_id": "7"}, "NotFound: todo_id: Input should be an instance of UUID|NotFound: todo_id: .*UUID"),
        ({"todo_id": UUID(int=7), "x": 1}, "NotFound: x: Extra inputs are not permitted"),
    ],
)
def test_fields_are_checked_where_the_error_is_made(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        NotFound("x", **fields)


@pytest.mark.parametrize("name", ["message", "code", "fields", "status", "args", "add_note"])
def test_a_field_cannot_hide_what_every_error_has(name: str) -> None:
    with pytest.raises(UsageError, match=f"every error has '{name}' already; give the field another name"):
        type("Hiding", (ServerFnError,), {"__annotations__": {name: str}})


def test_two_classes_cannot_share_a_code() -> None:
    with pytest.raises(UsageError, match=r"have the same code 'NotFound'.*code=\"…\""):
        type("NotFound", (ServerFnError,), {"__module__": "elsewhere"})


def test_a_reloaded_module_may_define_its_errors_again() -> None:
    members = {"__module__": "reloaded", "__qualname__": "Again"}
    first = type("Again", (ServerFnError,), dict(members))
    second = type("Again", (ServerFnError,), dict(members))
    assert first is not second


@pytest.mark.parametrize("status", [200, 302, 399, 500])
def test_the_status_of_an_error_is_an_error_of_the_caller(status: int) -> None:
    with pytest.raises(UsageError, match="choose one from 400 to 499"):

        class Odd(ServerFnError, status=status):  # pyright: ignore[reportUnusedClass]
            pass


def test_errors_can_be_copied_and_pickled() -> None:
    error = Moved(UUID(int=7), "attic")

    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is Moved
        assert (str(again), again.fields) == ("moved to attic", {"todo_id": UUID(int=7), "to": "attic"})


def test_one_root() -> None:
    for error in (UsageError, ServerFnError, FunctionCallError, ValidationFailed, RemoteError):
        assert issubclass(error, StartError)
    assert not issubclass(ServerFnError, FunctionCallError)
