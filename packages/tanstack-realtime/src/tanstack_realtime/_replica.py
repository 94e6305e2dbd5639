"""The synced rows of a realtime collection: how snapshots, messages and own results merge.

Pure bookkeeping: rows by key, which scope each belongs to, and what changed while a fetch was running. Every method
returns the writes that bring the collection up to date, by key and with None for a row that goes; the shell puts them
into one sync commit.

The laws (all tested by replaying random histories):

- A snapshot is older than every change that arrived after its fetch began. So those changes are replayed on top of it:
  a newer update is not overwritten, a deleted row does not come back, a row inserted meanwhile stays.
- A key belongs to one scope at a time. A row that moved is not removed by the old scope's delete or snapshot.
- A message is applied whole or not at all. Applying one twice changes nothing.
- Where rows carry versions, no message replaces a newer version by an older one, not even a deleted one. A snapshot
  does so only when the next one says the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, cast
from uuid import UUID

from typing_extensions import TypeVar

from ._envelope import RowChange, WireKey
from ._errors import MessageError, RealtimeError

__all__ = ["FetchMark", "Received", "Replica", "RowCodec", "wire_key"]

T = TypeVar("T")
K = TypeVar("K")

_TOMBSTONES: Final = 10_000
_LOG_LIMIT: Final = 50_000


def wire_key(key: object) -> WireKey:
    """Return how a row's key travels as JSON.

    Raises:
        RealtimeError: the key is neither string, integer nor UUID.
    """
    if isinstance(key, str) or (isinstance(key, int) and not isinstance(key, bool)):
        return key
    if isinstance(key, UUID):
        return str(key)
    raise RealtimeError(
        f"get_key gave {key!r}; the key of a realtime collection must be a str, an int or a UUID, since it travels as "
        "JSON. Return one of those, for example a composite key joined into one string.",
        code="bad_key",
    )


class RowCodec(Protocol[T]):
    """How rows are made, keyed and placed; given by the collection."""

    def key(self, row: T, /) -> Any: ...

    def scope(self, row: T, /) -> str:
        """The wire string of the channel that the row's parameter columns name."""
        ...

    def decode(self, data: Mapping[str, Any], /) -> T:
        """Make a whole, valid row. Raises when `data` is not one; whether it has a key and a place, they tell."""
        ...

    def merge(self, row: T, data: Mapping[str, Any], /) -> T:
        """Return `row` with the columns of `data` replaced, validated."""
        ...

    def version(self, row: T, /) -> int | None: ...


@dataclass(slots=True)
class Received(Generic[T, K]):
    """What a message, or an own mutation, did.

    Attributes:
        writes: for one sync commit: the new row of each key, None to delete it; empty when it told nothing new.
        incomplete: only a fetch can tell the rest: it changed part of a row that is not known here, it deleted an older
            version of a row than the one that is, or the row was deleted before.
    """

    writes: dict[K, T | None] = field(default_factory=dict[Any, Any])
    incomplete: bool = False


@dataclass(slots=True)
class _Entry(Generic[T]):
    key: Any
    row: T
    scope: str
    heard: int
    """Tick of the last message from elsewhere about this row; 0 for none."""
    doubted: bool = False
    """A fetch brought an older version of the row than this one."""
    moved: bool = False
    """It came here from another scope, where older messages about it may still arrive."""


@dataclass(slots=True)
class _Step(Generic[T]):
    """A change as it is replayed: `row` whole, or `part` of one, or neither for a delete. Nobody changes it.

    A delete carries the version that its writer saw, a put the version that it made.
    """

    tick: int
    scope: str
    key: WireKey
    row: T | None = None
    part: Mapping[str, Any] | None = None
    version: int | None = None
    is_insert: bool = False
    is_update: bool = False
    """A message that says so; what an own server function returned is neither."""

    @property
    def is_delete(self) -> bool:
        return self.row is None and self.part is None


@dataclass(eq=False, slots=True)
class FetchMark:
    """A fetch that is running. Give it back to `Replica.snapshot` or `Replica.abandon`.

    Attributes:
        scope: wire string of the channel.
        incomplete: not every change could be replayed, so another fetch must follow this one.
    """

    scope: str
    tick: int
    incomplete: bool = field(default=False)


class Replica(Generic[T, K]):
    """The synced rows; see the module docstring.

    Args:
        codec: how rows are made, keyed and placed.
    """

    def __init__(self, codec: RowCodec[T]) -> None:
        self._codec = codec
        self._entries: dict[WireKey, _Entry[T]] = {}
        self._scopes: dict[str, set[WireKey]] = {}
        self._tombstones: OrderedDict[WireKey, int] = OrderedDict()
        self._log: list[_Step[T]] = []
        self._running: set[FetchMark] = set()
        self._tick = 0

    @property
    def tick(self) -> int:
        """A counter that every change advances; compare with `heard_since`."""
        return self._tick

    def heard_since(self, key: object, tick: int) -> bool:
        """Whether a message from elsewhere touched the row after `tick`."""
        entry = self._entries.get(wire_key(key))
        return entry is not None and entry.heard > tick

    def get(self, key: object) -> T | None:
        """Return the row with this key."""
        entry = self._entries.get(wire_key(key))
        return None if entry is None else entry.row

    def count(self, scope: str) -> int:
        """How many rows the scope holds."""
        return len(self._scopes.get(scope, ()))

    def is_open(self, scope: str) -> bool:
        """Whether rows of the scope are kept."""
        return scope in self._scopes

    # -- scopes ------------------------------------------------------------------------------------------------------

    def open(self, scope: str) -> None:
        """Accept rows for a scope. Rows of scopes that are not open are never kept: nothing would keep them fresh."""
        self._scopes.setdefault(scope, set())

    def empty(self, scope: str) -> dict[K, T | None]:
        """Remove the rows of a scope that stays open."""
        return {self._remove(key): None for key in sorted(self._scopes.get(scope, ()), key=str)}

    def close(self, scope: str) -> dict[K, T | None]:
        """Remove a scope with its rows."""
        for key in self._scopes.get(scope, ()):
            entry = self._entries[key]
            if entry.moved:
                self._lose_sight(key, self._codec.version(entry.row))
        writes = self.empty(scope)
        self._scopes.pop(scope, None)
        return writes

    # -- fetches -----------------------------------------------------------------------------------------------------

    def fetching(self, scope: str) -> FetchMark:
        """A fetch begins: remember what changes from now on."""
        mark = FetchMark(scope, self._tick)
        self._running.add(mark)
        return mark

    def abandon(self, mark: FetchMark) -> None:
        """The fetch failed or is no longer wanted."""
        self._running.discard(mark)
        if not self._running:
            self._log.clear()
        else:
            oldest = min(running.tick for running in self._running)
            self._log = [step for step in self._log if step.tick > oldest]

    def snapshot(self, mark: FetchMark, rows: Iterable[T]) -> dict[K, T | None]:
        """The fetch returned `rows`: all rows of its scope at some moment after it began.

        Raises:
            RealtimeError: a row belongs to another scope, or two rows have one key. Nothing was changed.
        """
        target: dict[WireKey, T] = {}
        for row in rows:
            key = wire_key(self._codec.key(row))
            place = self._codec.scope(row)
            if place != mark.scope:
                raise RealtimeError(
                    f"query_fn for {mark.scope!r} returned row {key!r}, which belongs to {place!r}. Return only the "
                    "rows of the parameters it was called with, or name the right column with params={...}.",
                    channel=mark.scope,
                    code="foreign_row",
                )
            if key in target:
                raise RealtimeError(
                    f"query_fn for {mark.scope!r} returned two rows with key {key!r}; get_key must be unique.",
                    channel=mark.scope,
                    code="duplicate_key",
                )
            target[key] = row
        for step in self._log:
            if step.tick > mark.tick:
                self._replay(step, mark, target)
        self.abandon(mark)
        known = self._scopes.get(mark.scope)
        if known is None:
            return {}
        writes: dict[K, T | None] = {self._remove(key): None for key in sorted(known - target.keys(), key=str)}
        for key, row in target.items():
            # The database shows the row again, whatever was buried before the fetch began.
            self._tombstones.pop(key, None)
            entry = self._entries.get(key)
            if entry is not None:
                if entry.row == row and entry.scope == mark.scope:
                    continue
                if not entry.doubted and _is_older(self._codec.version(row), self._codec.version(entry.row)):
                    # Either a copy of the database that lags was read, or the newer version never was in the database:
                    # forged, or lost with a backup. A second look tells, and then the database counts.
                    entry.doubted = mark.incomplete = True
                    continue
            writes[self._put(key, row, mark.scope)] = row
        return writes

    def _replay(self, step: _Step[T], mark: FetchMark, target: dict[WireKey, T]) -> None:
        there = target.get(step.key)
        if there is not None and self._is_stale(step, there):
            # Deleted after the snapshot was read, whatever version its writer saw, or alive again: a fetch tells.
            mark.incomplete |= step.is_delete and step.scope == mark.scope
            return
        if step.scope != mark.scope:
            if step.row is not None:
                target.pop(step.key, None)
        elif step.row is not None:
            if there is None and step.is_update:
                # Made after the snapshot was read, or late and deleted before it: the next fetch tells.
                mark.incomplete = True
            target[step.key] = step.row
        elif step.is_delete:
            target.pop(step.key, None)
        elif there is not None:
            assert step.part is not None, "neither row nor part is a delete"
            try:
                target[step.key] = self._merged(step.scope, step.key, there, step.part)
            except MessageError:
                # It could not be checked when it came, since its row was not known. The next fetch decides.
                mark.incomplete = True

    # -- changes -----------------------------------------------------------------------------------------------------

    def receive(self, scope: str, changes: Iterable[RowChange]) -> Received[T, K]:
        """Apply one message that came on `scope`'s channel.

        Raises:
            MessageError: a change is malformed, or its row belongs to another scope. Nothing was changed.
        """
        received: Received[T, K] = Received()
        if scope in self._scopes:
            for step in [self._step(scope, change) for change in changes]:
                self._apply(step, received, heard=True)
        return received

    def confirm(self, puts: Iterable[T], deletes: Iterable[tuple[K, str]] = ()) -> Received[T, K]:
        """Take over what an own mutation did on the server.

        Args:
            puts: the server's rows.
            deletes: keys that are gone, each with the scope that it is gone from.
        """
        received: Received[T, K] = Received()
        for key, scope in deletes:
            self._tick += 1
            entry = self._entries.get(wire_key(key))
            # A tombstone here too: the message of an update that was committed before may still be on its way.
            version = None if entry is None else self._codec.version(entry.row)
            self._apply(_Step(self._tick, scope, wire_key(key), version=version), received, heard=False)
        for row in puts:
            self._tick += 1
            step = _Step(
                self._tick, self._codec.scope(row), wire_key(self._codec.key(row)), row, None, self._codec.version(row)
            )
            self._apply(step, received, heard=False)
        return received

    def _step(self, scope: str, change: RowChange) -> _Step[T]:
        self._tick += 1
        if change.action == "delete":
            key = change.key
            if key is None:
                key = self._decoded_key(scope, change)
            return _Step(self._tick, scope, key, version=change.version)
        data = change.data
        assert data is not None, "the parser refuses an insert or update without data"
        try:
            row = self._codec.decode(data)
            key, place = wire_key(self._codec.key(row)), self._codec.scope(row)
        except Exception as error:
            if change.action == "insert" or change.key is None:
                raise MessageError(
                    f"the {change.action} on {scope!r} carries no valid row: {error}", channel=scope
                ) from error
            return self._partial(scope, change.key, data, change.version)
        if change.key is not None and change.key != key:
            raise MessageError(
                f"the {change.action} on {scope!r} names key {change.key!r} but its row has {key!r}", channel=scope
            )
        if place != scope:
            raise MessageError(
                f"row {key!r} came on {scope!r} but belongs to {place!r}", channel=scope, code="foreign_row"
            )
        version = self._codec.version(row)
        version = version if version is not None else change.version
        return _Step(self._tick, scope, key, row, None, version, change.action == "insert", change.action == "update")

    def _decoded_key(self, scope: str, change: RowChange) -> WireKey:
        """The bare form of a delete names its row by `data` only."""
        assert change.data is not None, "the parser refuses a delete without key and data"
        try:
            return wire_key(self._codec.key(self._codec.decode(change.data)))
        except Exception as error:
            raise MessageError(
                f'the delete on {scope!r} has neither "key" nor a row: {error}', channel=scope
            ) from error

    def _partial(self, scope: str, key: WireKey, data: Mapping[str, Any], version: int | None) -> _Step[T]:
        """Check a partial update against the row that it would change, where that is known."""
        entry = self._entries.get(key)
        if entry is not None and entry.scope == scope:
            self._merged(scope, key, entry.row, data)
        return _Step(self._tick, scope, key, None, data, version)

    def _merged(self, scope: str, key: WireKey, row: T, data: Mapping[str, Any]) -> T:
        try:
            merged = self._codec.merge(row, data)
            stays = wire_key(self._codec.key(merged)) == key and self._codec.scope(merged) == scope
        except Exception as error:
            raise MessageError(f"the update of {key!r} on {scope!r} is not valid: {error}", channel=scope) from error
        if not stays:
            raise MessageError(
                f"the update of {key!r} on {scope!r} would change its key or its scope; send a delete and an insert",
                channel=scope,
                code="foreign_row",
            )
        return merged

    def _apply(self, step: _Step[T], received: Received[T, K], *, heard: bool) -> None:
        """Apply one step, add what it did to `received`, and remember the step for fetches that run."""
        self._remember(step)
        entry = self._entries.get(step.key)
        if entry is not None:
            if heard:
                entry.heard = step.tick
            if self._is_stale(step, entry.row):
                # A writer deletes whatever version the database has, not just the one that it saw.
                received.incomplete |= step.is_delete
                return
        if step.is_delete:
            if step.version is not None:
                self._bury(step.key, step.version)
            if entry is not None and (
                entry.scope == step.scope or _is_older(self._codec.version(entry.row), step.version)
            ):
                received.writes[self._remove(step.key)] = None
            return
        # Late, or the key lives again and its versions began anew: only the database can tell. Until it does, what an
        # own server function returned is shown.
        buried = self._is_buried(step.key, step.version)
        if buried and heard:
            received.incomplete = True
            return
        if step.row is None:
            assert step.part is not None, "neither row nor part is a delete"
            if entry is None or entry.scope != step.scope:
                # Only a snapshot knows the rest of the row; one that is on its way will have the change replayed.
                received.incomplete |= not any(mark.scope == step.scope for mark in self._running)
                return
            try:
                row = self._merged(step.scope, step.key, entry.row, step.part)
            except MessageError:
                # It was valid against the row before this message; an earlier change of the same message moved that.
                received.incomplete = True
                return
        else:
            row = step.row
        if step.scope not in self._scopes:
            if entry is not None:
                self._lose_sight(step.key, step.version)
                received.writes[self._remove(step.key)] = None
            return
        if entry is not None and entry.row == row and entry.scope == step.scope:
            return
        # An update of a row that was deleted here: the delete or the update came late, the database knows which.
        revived = entry is None and step.key in self._tombstones and not step.is_insert
        received.incomplete |= revived or buried
        received.writes[self._put(step.key, row, step.scope, heard=step.tick if heard else 0)] = row

    def _remember(self, step: _Step[T]) -> None:
        if not self._running:
            return
        self._log.append(step)
        if len(self._log) > _LOG_LIMIT:
            del self._log[: _LOG_LIMIT // 2]
            for mark in self._running:
                mark.incomplete = True

    # -- storage -----------------------------------------------------------------------------------------------------

    def _put(self, key: WireKey, row: T, scope: str, *, heard: int = 0) -> K:
        """Keep a row, and return its key in the collection."""
        entry = self._entries.get(key)
        moved = False
        if entry is not None:
            self._scopes[entry.scope].discard(key)
            heard = max(heard, entry.heard)
            moved = entry.moved or entry.scope != scope
        self._entries[key] = entry = _Entry(self._codec.key(row), row, scope, heard, moved=moved)
        self._scopes[scope].add(key)
        return cast("K", entry.key)

    def _remove(self, key: WireKey) -> K:
        """Forget a row, and return its key in the collection."""
        entry = self._entries.pop(key)
        self._scopes[entry.scope].discard(key)
        return cast("K", entry.key)

    def _bury(self, key: WireKey, version: int) -> None:
        self._tombstones[key] = max(version, self._tombstones.pop(key, version))
        if len(self._tombstones) > _TOMBSTONES:
            self._tombstones.popitem(last=False)

    def _lose_sight(self, key: WireKey, version: int | None) -> None:
        """The row moved to where nobody looks: older messages of where it was must not bring it back."""
        if version is not None:
            self._bury(key, version - 1)

    def _is_buried(self, key: WireKey, version: int | None) -> bool:
        buried = self._tombstones.get(key)
        return buried is not None and version is not None and version <= buried

    def _is_stale(self, step: _Step[T], row: T) -> bool:
        version = self._codec.version(row)
        if step.version is None or version is None:
            return False
        return step.version < version if step.is_delete else step.version <= version


def _is_older(version: int | None, than: int | None) -> bool:
    return version is not None and than is not None and version < than
