"""From what a server function returned to what is shown and published.

A mutation is settled in one batch: the server's rows enter the synced layer, the optimistic rows go, and the message
for the others is posted. What the server function did not say is fetched first, and the others are told to fetch.

Server functions for one row may run at once. Where the answer to the earlier call comes last, only the database knows
which of them was done last, so it is asked. Updates with versions tell themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, cast

from typing_extensions import TypeVar

from tanstack_db import Mutation

from ._codec import SchemaCodec
from ._echo import EchoRegister
from ._envelope import RowMessage
from ._errors import RealtimeError
from ._feed import Feed
from ._observe import Observer
from ._outcome import Outcome

__all__ = ["SettlementHost", "Settlements"]

T = TypeVar("T")
K = TypeVar("K")


class SettlementHost(Protocol[T]):
    """What settling needs of the collection."""

    def confirm(self, mutation: Mutation[T], row: T | None, /) -> None:
        """Drop the optimistic row in favour of the server's, or of whatever is synced."""
        ...

    def post(self, outcome: Outcome[T], /) -> None:
        """Publish what a transaction did."""
        ...

    def report(self, error: Exception, /) -> None: ...

    @property
    def observer(self) -> Observer:
        """Who hears what happens."""
        ...


@dataclass(slots=True, eq=False)
class _Open(Generic[T]):
    """A mutation that the server is being told about."""

    outcome: Outcome[T]
    tick: int
    key: object
    """The row's when it began; the server may give an inserted row another."""
    insert_into: str | None = None
    """Channel on which a running insert keeps snapshots waiting."""
    is_overtaken: bool = False
    """Whether the server has a later mutation of the row, and perhaps had it before this one."""


class Settlements(Generic[T, K]):
    """The mutations under way in one collection.

    Args:
        id: the collection's id, for errors.
        codec: how its rows travel.
        feed: its scopes.
        echoes: its ids on the wire.
        host: the collection.
        id_of: the id under which a mutation is published.
    """

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 -- the option's name
        codec: SchemaCodec[T],
        feed: Feed[T, K],
        echoes: EchoRegister[tuple[str, RowMessage]],
        host: SettlementHost[T],
        id_of: Callable[[Mutation[T]], str],
    ) -> None:
        self._id = id
        self._codec = codec
        self._feed = feed
        self._echoes = echoes
        self._host = host
        self._id_of = id_of
        self._open: dict[Mutation[T], _Open[T]] = {}
        self._of_row: dict[object, list[Mutation[T]]] = {}
        """The same mutations by key, in the order in which they began."""

    def begin(self, mutations: Sequence[Mutation[T]]) -> None:
        """The server is being told about these mutations of one transaction."""
        outcome = self._outcome(mutations)
        outcome.traceparent = self._host.observer.mutating(outcome.id, self._id)
        self._echoes.begin(outcome.id)
        for mutation in mutations:
            self._open[mutation] = _Open(outcome, self._feed.replica.tick, mutation.key)
            self._of_row.setdefault(mutation.key, []).append(mutation)

    def calling(self, mutations: Sequence[Mutation[T]]) -> None:
        """A server function is called for these. Snapshots wait only for those that run: one that waits for its turn
        may be waiting for the very snapshot.
        """
        for mutation in mutations:
            known = self._open.get(mutation)
            if known is not None and known.insert_into is None and mutation.type == "insert":
                known.insert_into = self._codec.scope(mutation.modified)
                self._feed.handler_started(known.insert_into)

    async def accept(
        self, mutations: Sequence[Mutation[T]], result: object, *, from_handler: bool
    ) -> Callable[[], None]:
        """The server has these mutations. Returns what to do in the batch that drops their optimistic rows."""
        late: Outcome[T] | None = None
        opened: list[_Open[T]] = []
        for mutation in mutations:
            known = self._take(mutation, is_accepted=True)
            if known is None:
                # Rolled back meanwhile; the server did it all the same.
                late = late or self._outcome(mutations)
                known = _Open(late, self._feed.replica.tick, mutation.key)
            opened.append(known)
        rows = self._rows(mutations, result, from_handler=from_handler)
        settled = list(zip(mutations, opened, rows, strict=True))
        snapshots: dict[str, Callable[[], None] | None] = {}
        for mutation, known, row in settled:
            if _is_unsure(mutation, known, row):
                for channel in self._channels(mutation):
                    if channel not in snapshots:
                        snapshots[channel] = await self._feed.snapshot_for_settlement(channel)

        def apply() -> None:
            self._apply(settled, snapshots)

        return apply

    def reject(self, mutations: Sequence[Mutation[T]]) -> None:
        """The transaction failed. What the server took before is published; echoes of it are anybody's."""
        outcomes = {known.outcome.id: known.outcome for mutation in mutations if (known := self._take(mutation))}
        for outcome in outcomes.values():
            if outcome.accepted:
                self._publish(outcome)
            else:
                self._host.observer.settled(outcome.id, self._id, accepted=False)
                self._release(self._echoes.fail(outcome.id))

    def clear(self) -> None:
        """Another user: nothing that is under way will be published."""
        for outcome_id in {known.outcome.id for known in self._open.values()}:
            self._host.observer.settled(outcome_id, self._id, accepted=False)
        self._open.clear()
        self._of_row.clear()
        self._echoes.clear()

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _outcome(self, mutations: Sequence[Mutation[T]]) -> Outcome[T]:
        return Outcome(
            codec=self._codec, encode=self._codec.encode, id=self._id_of(mutations[0]), expected=len(mutations)
        )

    def _take(self, mutation: Mutation[T], *, is_accepted: bool = False) -> _Open[T] | None:
        known = self._open.pop(mutation, None)
        if known is None:
            return None
        of_row = self._of_row[known.key]
        if is_accepted:
            self._overtake(mutation, of_row[: of_row.index(mutation)])
        of_row.remove(mutation)
        if not of_row:
            del self._of_row[known.key]
        if known.insert_into is not None:
            self._feed.handler_ended(known.insert_into)
        return known

    def _overtake(self, mutation: Mutation[T], earlier: Sequence[Mutation[T]]) -> None:
        for other in earlier:
            both_are_updates = mutation.type == other.type == "update"
            if not (both_are_updates and self._codec.version(mutation.modified) is not None):
                self._open[other].is_overtaken = True

    def _channels(self, mutation: Mutation[T]) -> list[str]:
        places = (mutation.original, mutation.modified, *self._elsewhere(mutation))
        return list(dict.fromkeys(self._codec.scope(row) for row in places))

    def _elsewhere(self, mutation: Mutation[T]) -> list[T]:
        """The row as others see it, if it was in another scope for the writer: the mutation builds on a move that is
        still open, or another client has moved the row meanwhile.
        """
        row = self._feed.replica.get(mutation.key)
        return [] if row is None or self._codec.scope(row) == self._codec.scope(mutation.original) else [row]

    def _rows(self, mutations: Sequence[Mutation[T]], result: object, *, from_handler: bool) -> list[T | None]:
        """Match returned rows to mutations: by key, what is left to inserts in order, since those may have new keys."""
        waiting = {mutation.key: mutation for mutation in mutations if mutation.type != "delete"}
        if result is None or not waiting:
            return [None] * len(mutations)
        found: dict[Mutation[T], T] = {}
        rest: list[T] = []
        for item in cast("Sequence[object]", result) if isinstance(result, (list, tuple)) else [result]:
            try:
                row = self._codec.row(item)
            except Exception as error:  # noqa: BLE001 -- the server has the mutation, so this must not undo it
                if from_handler:
                    self._host.report(self._unusable(item, error))
                continue
            mutation = waiting.pop(self._codec.key(row), None)
            if mutation is None:
                rest.append(row)
            else:
                found[mutation] = row
        if len(rest) == len(waiting) and (
            len(rest) == 1 or all(mutation.type == "insert" for mutation in waiting.values())
        ):
            found.update(zip(waiting.values(), rest, strict=True))
        return [found.get(mutation) for mutation in mutations]

    def _unusable(self, item: object, error: Exception) -> RealtimeError:
        problem = RealtimeError(
            f"a handler of collection {self._id!r} returned {item!r}, which is no row of it: {error}. Return the row "
            "that the server made, or None to have it fetched; it is fetched now.",
            code="bad_row",
        )
        problem.__cause__ = error
        return problem

    def _apply(
        self,
        settled: Sequence[tuple[Mutation[T], _Open[T], T | None]],
        snapshots: dict[str, Callable[[], None] | None],
    ) -> None:
        replica = self._feed.replica
        puts: list[T] = []
        deletes: list[tuple[Any, str]] = []
        for mutation, known, row in settled:
            outcome = known.outcome
            outcome.accepted += 1
            if _is_unsure(mutation, known, row):
                channels = self._channels(mutation)
                for channel in channels:
                    outcome.unknown(channel)
                    if channel not in snapshots:
                        # Another client has moved the row there while the database was asked about the others.
                        self._feed.refetch(channel)
                failed = any(channel in snapshots and snapshots[channel] is None for channel in channels)
                if failed and not known.is_overtaken:
                    # The fetch's retry brings the server's row. Until then the optimistic one stands in.
                    puts.append(mutation.modified)
            elif row is None:
                for gone in (mutation.original, *self._elsewhere(mutation)):
                    outcome.deleted(gone)
                    deletes.append((mutation.key, self._codec.scope(gone)))
            else:
                if mutation.type == "insert":
                    outcome.inserted(row)
                else:
                    outcome.updated(mutation.original, row)
                    for gone in self._elsewhere(mutation):
                        if self._codec.scope(gone) != self._codec.scope(row):
                            outcome.deleted(gone)
                    if self._codec.key(row) != mutation.key:
                        deletes.append((mutation.key, self._codec.scope(mutation.original)))
                puts.append(row)
        # First, so that the others need not wait for what is done here.
        for outcome in {known.outcome.id: known.outcome for _, known, _ in settled}.values():
            if outcome.is_complete:
                self._publish(outcome)
        confirmed = replica.confirm(puts, deletes)
        self._feed.host.write(confirmed.writes)
        if confirmed.incomplete:
            for channel in dict.fromkeys(self._codec.scope(row) for row in puts):
                self._feed.refetch(channel)
        for snapshot in snapshots.values():
            if snapshot is not None:
                snapshot()
        for mutation, known, row in settled:
            # The replica may hold a newer version than the one that came back.
            self._host.confirm(mutation, None if row is None else replica.get(self._codec.key(row)))
            if row is not None and replica.heard_since(self._codec.key(row), known.tick):
                self._settle_conflict(row)

    def _settle_conflict(self, row: T) -> None:
        """Somebody else changed the row while the server function ran. Versions say who was last; else the database."""
        if self._codec.version(row) is None:
            self._feed.refetch(self._codec.scope(row))

    def _publish(self, outcome: Outcome[T]) -> None:
        # First, so that the others need not wait for the rest. Its echo comes in a later turn of the loop.
        self._host.post(outcome)
        self._echoes.settle(outcome.id)
        self._host.observer.settled(outcome.id, self._id, accepted=True)

    def _release(self, held: Sequence[tuple[str, RowMessage]]) -> None:
        for channel, message in held:
            self._feed.apply(channel, message)


def _is_unsure(mutation: Mutation[T], known: _Open[T], row: T | None) -> bool:
    """Whether only the database can tell what became of the row."""
    return known.is_overtaken or (row is None and mutation.type != "delete")
