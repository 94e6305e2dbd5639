"""A part of a transaction's changes that is undone on its own."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from .mutation import Mutation, MutationType
from .overlay import Layer

if TYPE_CHECKING:
    from .._collections.collection import Collection
    from .work import Work

__all__ = ["savepoint"]

_Staged: TypeAlias = "tuple[tuple[Collection[Any, Any], Any], Mutation[Any], MutationType, Any, Any]"
"""Where a mutation is staged, the mutation, and its type, original and modified."""


@contextmanager
def savepoint(work: Work) -> Generator[None, None, None]:
    """If the body raises, restore what `work`, a pending optimistic transaction, had staged before."""
    before: list[_Staged] = [
        (slot, mutation, mutation.type, mutation.original, mutation.modified)
        for slot, mutation in work._mutations.items()
    ]
    try:
        yield
    except BaseException:
        with work.client.batch():
            _restore(work, before)
        raise


def _restore(work: Work, before: Sequence[_Staged]) -> None:
    old = {id(mutation) for _, mutation, *_ in before}
    for mutation in work._mutations.values():
        if id(mutation) not in old:
            mutation.collection._drop(mutation, rebase=True)
    work._mutations.clear()
    for slot, mutation, kind, original, modified in before:
        mutation.type, mutation.original, mutation.modified = kind, original, modified
        mutation._changes = None
        row = None if kind == "delete" else modified
        changes = mutation.changes if kind == "update" else None
        is_new = mutation._layer is None
        mutation._layer = layer = mutation._layer or Layer(work.order, row, changes, mutation)
        layer.row, layer.changes = row, changes
        work._mutations[slot] = mutation
        mutation.collection._show_layer(mutation, is_new=is_new)
