"""Calls over HTTP: arguments and results arrive as they were, and bad ones do not arrive."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, NotRequired
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from tanstack_start import (
    FailedCall,
    FunctionCallError,
    FunctionsClient,
    RemoteError,
    ServerFunctions,
    ValidationFailed,
    server_fn,
)
from tanstack_start._function import specs_of

Connect = Callable[..., FunctionsClient]
Http = Callable[[ServerFunctions], httpx.AsyncClient]

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Priority(Enum):
    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True)
class Todo:
    id: UUID
    text: str
    created_at: datetime
    completed_at: datetime | None = None


class Comment(BaseModel):
    id: int
    todo: Todo
    tags: set[str] = set()


class Filters(TypedDict):
    project_id: str
    priority: NotRequired[Priority]


@server_fn
async def add_todo(text: Annotated[str, Field(max_length=20)], done: bool = False) -> Todo:
    ran.append("add_todo")
    return Todo(UUID(int=1), text, NOON, NOON if done else None)


@server_fn(method="GET")
async def get_filters(filters: Filters, limit: int = 10) -> list[tuple[Filters, int]]:
    return [(filters, limit)]


@server_fn
async def echo_comment(comment: Comment) -> Comment:
    return comment


@server_fn
async def echo_values(
    amount: Decimal, day: date, wait: timedelta, names: dict[int, tuple[str, ...]], priority: Priority | None
) -> tuple[Decimal, date, timedelta, dict[int, tuple[str, ...]], Priority | None]:
    return amount, day, wait, names, priority


@server_fn
async def echo_any(value: Any) -> Any:
    return value


@server_fn
async def mixed(first: int, /, second: int, *, third: int = 3) -> list[int]:
    return [first, second, third]


@server_fn
async def nothing() -> None:
    ran.append("nothing")


@server_fn
async def broken_promise() -> int:
    return "one"  # type: ignore[return-value]


@server_fn
async def fails() -> None:
    raise RuntimeError("password=secret")


ran: list[str] = []
failed: list[FailedCall] = []


@pytest.fixture
def app() -> ServerFunctions:
    ran.clear()
    failed.clear()
    return ServerFunctions(sys.modules[__name__], get_user=lambda request: "ada", on_error=failed.append)


def path_of(name: str) -> str:
    return f"{__name__.rpartition('.')[2]}/{name}"


async def test_a_dataclass_comes_back_as_itself(app: ServerFunctions, connect: Connect) -> None:
    with connect(app).activate():
        todo = await add_todo("milk", done=True)

    assert todo == Todo(UUID(int=1), "milk", NOON, NOON)
    assert ran == ["add_todo"]


async def test_defaults_are_the_servers(app: ServerFunctions, http: Http) -> None:
    requests: list[bytes] = []
    sender = http(app)

    async def note(request: httpx.Request) -> None:
        requests.append(request.content)

    sender.event_hooks["request"].append(note)
    with FunctionsClient("http://server", http=sender).activate():
        await add_todo("milk")

    assert requests == [b'{"text":"milk"}']


async def test_a_get_sends_its_arguments_in_one_query_parameter(app: ServerFunctions, connect: Connect) -> None:
    filters = Filters(project_id="a&b=c?#☕ %", priority=Priority.HIGH)
    with connect(app).activate():
        assert await get_filters(filters) == [(filters, 10)]
        assert await get_filters(limit=0, filters={"project_id": ""}) == [({"project_id": ""}, 0)]


async def test_a_pydantic_model_with_a_dataclass_in_it(app: ServerFunctions, connect: Connect) -> None:
    comment = Comment(id=1, todo=Todo(uuid4(), "naïve ☕", datetime(2026, 1, 1, 12, 30, 15, 123)), tags={"a", "b"})
    with connect(app).activate():
        assert await echo_comment(comment) == comment


async def test_none_in_and_none_out(app: ServerFunctions, connect: Connect) -> None:
    with connect(app).activate():
        await nothing()
        assert await echo_any(None) is None
    assert ran == ["nothing"]


async def test_positional_only_and_keyword_only_parameters(app: ServerFunctions, connect: Connect) -> None:
    with connect(app).activate():
        assert await mixed(1, 2) == [1, 2, 3]
        assert await mixed(1, second=2, third=4) == [1, 2, 4]


@settings(max_examples=50)
@given(
    amount=st.decimals(allow_nan=False, allow_infinity=False),
    day=st.dates(),
    wait=st.timedeltas(timedelta(days=-9999), timedelta(days=9999)),
    names=st.dictionaries(st.integers(-(2**80), 2**80), st.lists(st.text()).map(tuple), max_size=5),
    priority=st.sampled_from([None, *Priority]),
)
def test_values_survive_the_trip(
    amount: Decimal, day: date, wait: timedelta, names: dict[int, tuple[str, ...]], priority: Priority | None
) -> None:
    """Whatever the annotations allow arrives equal, in type and value.

    Kills: checking parsed JSON with `validate_python`, which takes no dates, decimals and numeric keys from JSON.
    """
    (spec,) = specs_of([echo_values])
    keywords = {"priority": priority, "names": names, "wait": wait, "day": day, "amount": amount}
    arguments = spec.decode_arguments(spec.encode_arguments((), keywords))

    assert arguments.args == (amount, day, wait, names, priority)
    assert spec.decode_result(spec.encode_result(arguments.args)) == arguments.args


async def test_bad_arguments_are_refused_before_anything_is_sent(app: ServerFunctions, connect: Connect) -> None:
    with connect(app).activate():
        with pytest.raises(ValidationFailed) as caught:
            await add_todo(5)  # type: ignore[arg-type]
        assert [(item.path, item.kind) for item in caught.value.problems] == [(("text",), "string_type")]
        assert str(caught.value) == f"{path_of('add_todo')}: text: Input should be a valid string"
        assert (caught.value.retryable, caught.value.status) == (False, None)

        with pytest.raises(ValidationFailed, match="at most 20 characters"):
            await add_todo("x" * 21)
        with pytest.raises(ValidationFailed, match=r"comment\.todo: Field required"):
            await echo_comment({"id": 1})  # type: ignore[arg-type]
        with pytest.raises(ValidationFailed, match="Expected `Comment`"):
            await echo_comment({"id": 1, "todo": Todo(uuid4(), "x", NOON)})  # type: ignore[arg-type]
        with pytest.raises(ValidationFailed, match=r"arguments: .*utf-8"):
            await echo_any(b"\xff")
        with pytest.raises(TypeError, match=r"add_todo\(\): missing a required argument: 'text'"):
            await add_todo()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=r"add_todo\(\): got an unexpected keyword argument 'txt'"):
            await add_todo("x", txt="x")  # type: ignore[call-arg]
    assert ran == []


@pytest.mark.parametrize(
    ("body", "path", "kind"),
    [
        ('{"text": 5}', ["text"], "string_type"),
        ('{"text": "x", "done": "true"}', ["done"], "bool_type"),
        ('{"text": "x", "extra": 1}', ["extra"], "extra_forbidden"),
        ("{}", ["text"], "missing"),
        ("[]", [], "dict_type"),
        ("null", [], "dict_type"),
        ("{", [], "json_invalid"),
        ("", [], "json_invalid"),
        ("[" * 10_000, [], "json_invalid"),
        (b"\xff\xfe", [], "json_invalid"),
    ],
)
async def test_the_server_trusts_no_client(
    app: ServerFunctions, http: Http, body: str | bytes, path: list[str], kind: str
) -> None:
    answer = await http(app).post(f"/{path_of('add_todo')}", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 422
    (problem,) = answer.json()["error"]["problems"]
    assert (problem["path"], problem["kind"]) == (path, kind)
    assert ran == []


async def test_problems_come_back_typed_and_without_the_refused_value(app: ServerFunctions, connect: Connect) -> None:
    @server_fn(path=path_of("add_todo"))
    async def older_add_todo(text: str, password: str) -> Todo:
        raise NotImplementedError

    with connect(app).activate(), pytest.raises(ValidationFailed) as caught:
        await older_add_todo("x" * 21, "secret")

    assert caught.value.status == 422
    assert [(item.path, item.kind) for item in caught.value.problems] == [
        (("text",), "string_too_long"),
        (("password",), "extra_forbidden"),
    ]
    assert "secret" not in str(caught.value)


async def test_an_answer_that_breaks_the_promise_is_the_servers_fault(app: ServerFunctions, connect: Connect) -> None:
    with connect(app).activate(), pytest.raises(RemoteError):
        await broken_promise()

    assert str(failed[0].error).startswith(f"{path_of('broken_promise')} returned what its annotation does not promise")


async def test_a_result_of_another_type_is_not_taken(app: ServerFunctions, connect: Connect) -> None:
    @server_fn(path=path_of("add_todo"))
    async def newer_add_todo(text: str) -> int:
        raise NotImplementedError

    with connect(app).activate(), pytest.raises(FunctionCallError, match="result") as caught:
        await newer_add_todo("x")

    assert (caught.value.code, caught.value.status, caught.value.retryable) == ("bad_response", 200, False)


async def test_what_went_wrong_stays_in_the_server(app: ServerFunctions, http: Http, connect: Connect) -> None:
    with connect(app).activate(), pytest.raises(RemoteError) as caught:
        await fails()

    (report,) = failed
    assert (report.function, report.user_id) == (path_of("fails"), "ada")
    assert report.error_id == caught.value.error_id
    assert repr(report.error) == "RuntimeError('password=secret')"
    answer = await http(app).post(f"/{path_of('fails')}", json={})
    assert "secret" not in answer.text
    assert "RuntimeError" not in answer.text


async def test_failures_are_logged_where_nobody_takes_them(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    app = ServerFunctions(fails, get_user=lambda request: None)
    with connect(app).activate(), pytest.raises(RemoteError) as caught:
        await fails()

    assert caught.value.error_id in caplog.text
    assert "password=secret" in caplog.text


async def test_an_on_error_that_raises_hides_nothing(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    def on_error(call: FailedCall) -> None:
        raise ValueError("no disk")

    app = ServerFunctions(fails, get_user=lambda request: None, on_error=on_error)
    with connect(app).activate(), pytest.raises(RemoteError) as caught:
        await fails()

    assert caught.value.error_id in caplog.text
    assert "no disk" in caplog.text
