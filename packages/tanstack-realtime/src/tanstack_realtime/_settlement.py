"""From what a server function returned to what is shown and published.

A mutation is settled in one batch: the server's rows enter the synced layer, the optimistic rows go, and the message
for the others is posted. What the server function did not say is fetched first, and the others are told to fetch.
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
    insert_into: str | None = None
    """Channel on which a running insert keeps snapshots waiting."""


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

    def begin(self, mutations: Sequence[Mutation[T]]) -> None:
        """The server is being told about these mutations of one transaction."""
        outcome = self._outcome(mutations)
        outcome.traceparent = self._host.observer.mutating(outcome.id, self._id)
        self._echoes.begin(outcome.id)
        for mutation in mutations:
            self._open[mutation] = _Open(outcome, self._feed.replica.tick)

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
            known = self._take(mutation)
            if known is None:
                # Rolled back meanwhile; the server did it all the same.
                late = late or self._outcome(mutations)
                known = _Open(late, self._feed.replica.tick)
            opened.append(known)
        rows = self._rows(mutations, result, from_handler=from_handler)
        snapshots: dict[str, Callable[[], None] | None] = {}
        for mutation, row in zip(mutations, rows, strict=True):
            if row is None and mutation.type != "delete":
                for channel in self._channels(mutation):
                    if channel not in snapshots:
                        snapshots[channel] = await self._feed.snapshot_for_settlement(channel)

        def apply() -> None:
            self._apply(list(zip(mutations, opened, rows, strict=True)), snapshots)

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
        self._echoes.clear()

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _outcome(self, mutations: Sequence[Mutation[T]]) -> Outcome[T]:
        return Outcome(
            codec=self._codec, encode=self._codec.encode, id=self._id_of(mutations[0]), expected=len(mutations)
        )

    def _take(self, mutation: Mutation[T]) -> _Open[T] | None:
        known = self._open.pop(mutation, None)
        if known is not None and known.insert_into is not None:
            self._feed.handler_ended(known.insert_into)
        return known

    def _channels(self, mutation: Mutation[T]) -> list[str]:
        return list(dict.fromkeys((self._codec.scope(mutation.original), self._codec.scope(mutation.modified))))

    def _rows(self, mutations: Sequence[Mutation[T]], result: object, *, from_handler: bool) -> list[T | None]:
        """Match returned rows to mutations: by key, what is left to inserts in order, since those may have new keys."""
        found: dict[Mutation[T], T] = {}
        open_ = [mutation for mutation in mutations if mutation.type != "delete"]
        if result is not None and open_:
            returned = list(cast("Sequence[object]", result)) if isinstance(result, list | tuple) else [result]
            rows: list[T] = []
            for item in returned:
                try:
                    rows.append(self._codec.row(item))
                except Exception as error:  # noqa: BLE001 -- the server has the mutation, so this must not undo it
                    if from_handler:
                        self._host.report(self._unusable(item, error))
            by_key = {mutation.key: mutation for mutation in open_}
            rest: list[T] = []
            for row in rows:
                mutation = by_key.pop(self._codec.key(row), None)
                if mutation is None:
                    rest.append(row)
                else:
                    found[mutation] = row
            waiting = [mutation for mutation in open_ if mutation not in found]
            if len(rest) == len(waiting) and (len(rest) == 1 or all(mutation.type == "insert" for mutation in waiting)):
                found.update(zip(waiting, rest, strict=True))
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
            if mutation.type == "delete":
                outcome.deleted(mutation.original)
                deletes.append((mutation.key, self._codec.scope(mutation.original)))
            elif row is None:
                for channel in self._channels(mutation):
                    outcome.unknown(channel)
                if any(snapshots[channel] is None for channel in self._channels(mutation)):
                    # The fetch failed; its retry brings the server's row. Until then the optimistic one stands in.
                    puts.append(mutation.modified)
            else:
                if mutation.type == "insert":
                    outcome.inserted(row)
                else:
                    outcome.updated(mutation.original, row)
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
        self._echoes.settle(outcome.id)
        self._host.observer.settled(outcome.id, self._id, accepted=True)
        self._host.post(outcome)

    def _release(self, held: Sequence[tuple[str, RowMessage]]) -> None:
        for channel, message in held:
            self._feed.apply(channel, message)
