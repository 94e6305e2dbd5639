"""Functions that change rows at once and tell the server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from tanstack_db import (
    DbClient,
    LocalOnlyCollection,
    NoRunningLoopError,
    Tx,
    UsageError,
    create_collection,
    create_optimistic_action,
    current_transaction,
    local_only_collection_options,
)


@dataclass(frozen=True)
class Post:
    id: str
    likes: int = 0


posts: LocalOnlyCollection[Post, str] = create_collection(
    local_only_collection_options(id="posts", schema=Post, get_key=lambda post: post.id, initial_data=[Post("1")])
)


def show(tx: Tx, key: str, *, by: int = 1) -> None:
    tx.update(posts, key, lambda post: Post(post.id, post.likes + by))


async def test_it_shows_the_change_then_tells_the_server_with_the_same_arguments() -> None:
    calls: list[tuple[str, int, object]] = []

    async def save(key: str, *, by: int = 1) -> None:
        await asyncio.sleep(1)
        transaction = current_transaction()
        calls.append((key, by, transaction and transaction.mutations[0].modified))

    await posts.preload()
    like = create_optimistic_action(on_mutate=show, mutation_fn=save, metadata={"from": "test"})
    client = DbClient()
    with client.activate():
        tx = like("1", by=2)
        assert posts.get("1") == Post("1", 2)
        assert (tx.state, tx.metadata, calls) == ("persisting", {"from": "test"}, [])
        await tx.persisted()

    assert calls == [("1", 2, Post("1", 2))]
    # The session's rows only.
    assert posts.get("1") == Post("1", 0)


async def test_what_the_server_refuses_is_taken_back() -> None:
    problem = ValueError("refused")

    async def refuse(key: str, *, by: int = 1) -> None:
        raise problem

    like = create_optimistic_action(on_mutate=show, mutation_fn=refuse)
    with DbClient().activate():
        tx = like("1")
        assert posts.get("1") == Post("1", 1)
        with pytest.raises(ValueError, match="refused") as caught:
            await tx.persisted()
        assert caught.value is problem
        assert posts.get("1") == Post("1", 0)


async def test_a_change_that_raises_changes_nothing_and_tells_nobody() -> None:
    calls: list[str] = []

    def half(tx: Tx, key: str) -> None:
        tx.insert(posts, Post(key))
        raise RuntimeError("half")

    async def save(key: str) -> None:
        calls.append(key)

    add = create_optimistic_action(on_mutate=half, mutation_fn=save)
    with DbClient().activate():
        with pytest.raises(RuntimeError, match="half"):
            add("2")
        await asyncio.sleep(1)
        assert (posts.has("2"), calls) == (False, [])


async def test_without_optimism_nothing_is_shown_before() -> None:
    async def save(key: str, *, by: int = 1) -> None:
        await asyncio.sleep(1)

    like = create_optimistic_action(on_mutate=show, mutation_fn=save, optimistic=False)
    with DbClient().activate():
        tx = like("1")
        assert posts.get("1") == Post("1", 0)
        await tx.persisted()
        assert posts.get("1") == Post("1", 1)


async def test_a_coroutine_function_cannot_show_anything() -> None:
    async def later(tx: Tx, key: str) -> None: ...

    async def save(key: str) -> None: ...

    with pytest.raises(UsageError, match="on_mutate must be a plain function"):
        create_optimistic_action(on_mutate=later, mutation_fn=save)

    def sneaky(tx: Tx, key: str) -> Any:
        return later(tx, key)

    with DbClient().activate(), pytest.raises(UsageError, match="plain function"):
        create_optimistic_action(on_mutate=sneaky, mutation_fn=save)("1")


def test_without_a_loop_nothing_is_changed() -> None:
    async def save(key: str, *, by: int = 1) -> None: ...

    like = create_optimistic_action(on_mutate=show, mutation_fn=save)
    with DbClient().activate():
        with pytest.raises(NoRunningLoopError):
            like("1")
        assert posts.get("1") == Post("1", 0)
