"""Visible rows: synced rows with the optimistic ones on top.

``rows`` holds what is visible. ``shadow`` holds the synced row of overlaid keys only, and each overlaid key has a stack
of layers, one per transaction that changed it. The topmost layer decides. So a write costs the same however many
transactions are open, and rows that nobody has changed locally exist once.

What is synced under a layer stays hidden until the last layer of that key has gone: a row does not flicker while its
transaction is under way. Rows that no transaction touches are never held back, but for those that the handler of an
insert writes itself (`CollectionCore._withhold`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic

from typing_extensions import TypeVar

from .. import rows as _rows
from .._base.delta import same
from .._errors import SchemaError

__all__ = ["Layer", "Overlay"]

T = TypeVar("T")
K = TypeVar("K")


@dataclass(eq=False, slots=True)
class Layer(Generic[T]):
    """What one transaction shows in place of a row.

    Attributes:
        order: position of its transaction among all of the client; higher is on top.
        row: the row that it shows, or None where it hides the row.
        changes: for an update the columns that it changed, so that it can be moved onto another base; else None.
        owner: whose layer it is.
    """

    order: int
    row: T | None
    changes: Mapping[str, Any] | None
    owner: Any

    @property
    def is_insert(self) -> bool:
        """Whether it shows a row that is new in its transaction."""
        return self.row is not None and self.changes is None


class Overlay(Generic[T, K]):
    """The rows of one collection.

    Args:
        began: called before the first change of `rows` since `before` was empty, and perhaps again.

    Attributes:
        rows: what is visible.
        before: for each key whose visible row has changed since this dict was put here: the row before, None for
            absent. Whoever tells about the changes puts an empty one in its place.
    """

    def __init__(self, began: Callable[[], None]) -> None:
        self.rows: dict[K, T] = {}
        self.before: dict[K, T | None] = {}
        self._shadow: dict[K, T] = {}
        self._layers: dict[K, list[Layer[T]]] = {}
        self._began = began

    # -- the synced layer ----------------------------------------------------------------------------------------------

    def synced(self, key: K) -> T | None:
        """Return the synced row, whether it is visible or not."""
        return self._shadow.get(key) if key in self._layers else self.rows.get(key)

    def synced_keys(self) -> Iterator[K]:
        """Iterate over the keys of all synced rows."""
        yield from self._shadow
        for key in self.rows:
            if key not in self._layers:
                yield key

    def write(self, key: K, row: T | None) -> None:
        """Set the synced row; None removes it. Visible at once unless the key is overlaid."""
        if key not in self._layers:
            self._show(key, row)
        elif row is None:
            self._shadow.pop(key, None)
        else:
            self._shadow[key] = row

    def write_all(self, rows: Mapping[K, T | None]) -> None:
        """Set many synced rows; see `write`."""
        visible, layers, before = self.rows, self._layers, self.before
        if rows and not before:
            self._began()
        for key, row in rows.items():
            if key in layers:
                self.write(key, row)
                continue
            # What `_show` does, without a call per row.
            was = visible.get(key)
            if was is row:
                continue
            if key not in before:
                before[key] = was
            if row is None:
                del visible[key]
            else:
                visible[key] = row

    # -- layers --------------------------------------------------------------------------------------------------------

    def is_overlaid(self, key: K) -> bool:
        """Whether a transaction changes this row."""
        return key in self._layers

    def layers(self, key: K) -> list[Layer[T]]:
        """The layers of a key, lowest first. Not to be changed."""
        return self._layers.get(key, [])

    def push(self, key: K, layer: Layer[T]) -> None:
        """Put a layer where its order belongs, as a rule on top."""
        stack = self._layers.get(key)
        if stack is None:
            synced = self.rows.get(key)
            if synced is not None:
                self._shadow[key] = synced
            self._layers[key] = [layer]
        else:
            place = len(stack)
            while place and stack[place - 1].order > layer.order:
                place -= 1
            stack.insert(place, layer)
        self._refresh(key)

    def refresh(self, key: K) -> None:
        """A layer of this key now shows something else."""
        self._refresh(key)

    def drop(self, key: K, layer: Layer[T], *, rebase: bool) -> None:
        """Take a layer away.

        Args:
            key: where it is.
            layer: which one; nothing happens when it is not there.
            rebase: it is undone, so the layers above it must not show its changes any longer.
        """
        stack = self._layers.get(key)
        if stack is None or layer not in stack:
            return
        place = stack.index(layer)
        del stack[place]
        if rebase:
            below = stack[place - 1].row if place else self._shadow.get(key)
            for above in stack[place:]:
                below = _rebased(above, below)
        self._refresh(key)

    def move(self, old: K, new: K, *, above: int) -> list[Layer[T]]:
        """The row has another key now: put its layers of a higher order than `above` onto the row of that key.

        From the next insert on, layers are about another row, which has the old key; they stay.

        Returns:
            The layers that were moved. Their ``row`` is rebased.
        """
        stack = self._layers.get(old, [])
        moved: list[Layer[T]] = []
        for layer in stack:
            if layer.order > above:
                if layer.is_insert:
                    break
                moved.append(layer)
        if not moved:
            return []
        self._layers[old] = [layer for layer in stack if layer not in moved]
        self._refresh(old)
        below = self.rows.get(new)
        for layer in moved:
            below = _rebased(layer, below)
            self.push(new, layer)
        return moved

    def _refresh(self, key: K) -> None:
        stack = self._layers[key]
        if stack:
            row, synced = stack[-1].row, self._shadow.get(key)
            # An optimistic row equal to the synced one is the synced one: nothing changed for whoever compares by
            # identity.
            self._show(key, synced if synced is not None and same(synced, row) else row)
            return
        del self._layers[key]
        self._show(key, self._shadow.pop(key, None))

    def _show(self, key: K, row: T | None) -> None:
        was = self.rows.get(key)
        if was is row:
            return
        if not self.before:
            self._began()
        if key not in self.before:
            self.before[key] = was
        if row is None:
            del self.rows[key]
        else:
            self.rows[key] = row


def _rebased(layer: Layer[T], below: T | None) -> T | None:
    """Put an update onto another base. A layer that is no update, or has no base left, keeps what it shows."""
    if layer.changes is not None and below is not None:
        # Where the class refuses the combination, the server will say what the row really is.
        with suppress(SchemaError):
            layer.row = _rows.replace(below, layer.changes)
    return layer.row
