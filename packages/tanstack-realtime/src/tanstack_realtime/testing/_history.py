"""Simulated histories: users with live queries and optimistic writes on a bad network, against a real database.

Everything a history does comes from one number: who writes what, which calls fail, where the network breaks, and in
which order tasks run. `simulate` runs one and raises if one of these does not hold.

At every moment, for every row that a user sees:

* it is in a project of which the user is a member;
* it was committed at some time, or it is the user's own change that is under way.

When everything has come to rest:

* every live query shows exactly what the database has. Where a writer died before it could publish, or an answer got
  lost, this holds after the window has got the focus once; otherwise without it;
* nothing is optimistic any more, nobody reported an error that is not a refusal or a lost connection, and no task and
  no timer is left.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from tanstack_db import LiveQuery, Rows, Transaction, TransactionError, live_query
from tanstack_realtime._errors import RealtimeError
from tanstack_realtime._options import realtime_collection_options
from tanstack_realtime.server import Permissions

from ._database import Crash, Database, Failure, Task
from ._loop import SeededLoop
from ._preset import MemoryPreset
from ._sandbox import RealtimeSandbox
from ._socket import Conditions

if TYPE_CHECKING:
    from tanstack_realtime._keys import Channel

    from ._sandbox import NetworkPreset

R = TypeVar("R")

__all__ = ["HistoryError", "HistorySummary", "simulate"]

_PROJECTS: Final = ("p0", "p1", "p2")
_USERS: Final = ("ann", "bob", "cid")
_REST: Final = 150.0
"""Seconds after which everything that is retried with back-off has been."""


class HistoryError(AssertionError):
    """An invariant does not hold. The message names the seed that replays it."""


@dataclass(frozen=True, slots=True)
class HistorySummary:
    """What happened in a history.

    Attributes:
        writes: transactions that were begun.
        committed: writes that reached the database.
        failed: transactions that were rolled back.
        faults: what was done to the network and the server.
        focused: whether the last step needed the window to get the focus.
    """

    writes: int
    committed: int
    failed: int
    faults: int
    focused: bool


def simulate(
    seed: int, *, preset: Callable[[], NetworkPreset] = MemoryPreset, steps: int = 16, users: int = len(_USERS)
) -> HistorySummary:
    """Run one history on a loop of its own.

    Args:
        seed: what happens; the same number gives the same history.
        preset: what carries the messages.
        steps: how many things happen.
        users: how many there are, at most three.

    Raises:
        HistoryError: an invariant does not hold.
    """
    loop = SeededLoop(seed)
    asyncio.set_event_loop(loop)
    try:
        history = _History(seed, preset(), steps, users)
        summary = loop.run_until_complete(history.run())
        timers = [timer for timer in _timers(loop) if not timer.cancelled()]
        if timers:
            raise HistoryError(f"history {seed}: timers are left: {timers}")
        return summary
    except HistoryError:
        raise
    except Exception as error:
        raise HistoryError(f"history {seed}: {type(error).__name__}: {error}") from error
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()


def _timers(loop: asyncio.AbstractEventLoop) -> list[asyncio.TimerHandle]:
    return list(getattr(loop, "_scheduled", ()))


class _User:
    """One user: a client, a collection, live queries."""

    def __init__(self, history: _History, name: str) -> None:
        self.name: Final = name
        self.dead = False
        self.writes: list[Transaction[Task]] = []
        self.queries: dict[str, LiveQuery[Rows[Task]]] = {}
        self._history = history
        self._texts = itertools.count(1)
        self.client = history.sandbox.new_client(name)
        self.tasks = self.client.db.build(
            realtime_collection_options(
                id="tasks",
                schema=Task,
                get_key=lambda task: task.id,
                channel=lambda project_id: ("tasks", {"project_id": project_id}),
                query_fn=self._get_tasks,
                version=lambda task: task.version,
                on_insert=self._insert,
                on_update=self._update,
                on_delete=self._delete,
            )
        )
        self.client.connect()

    # -- what the user does --------------------------------------------------------------------------------------------

    def watch(self, project_id: str) -> None:
        """Open a live query."""
        query = live_query(
            lambda q: q.from_(self.tasks).where(lambda t: t.project_id == project_id), client=self.client.db
        )
        query.subscribe(lambda: self._history.look(self, project_id))
        self.queries[project_id] = query

    def leave(self, project_id: str) -> None:
        """Close a live query."""
        self.queries.pop(project_id).close()

    def visible(self) -> list[Task]:
        """Return every row that the user sees."""
        return [task for query in self.queries.values() for task in query.get()]

    def insert(self, project_id: str) -> None:
        """Write a new row."""
        text = self._text()
        self.writes.append(self.tasks.insert(Task(text, project_id, text)))

    def update(self, task: Task, *, project_id: str | None = None) -> None:
        """Change a row that the user sees, and perhaps move it."""
        text = self._text()
        self.writes.append(
            self.tasks.update(task.id, lambda row: replace(row, text=text, project_id=project_id or row.project_id))
        )

    def delete(self, task: Task) -> None:
        """Delete a row that the user sees."""
        self.writes.append(self.tasks.delete(task.id))

    def _text(self) -> str:
        return f"{self.name}-{next(self._texts)}"

    # -- server functions, as the user's program calls them ------------------------------------------------------------

    async def _get_tasks(self, project_id: str) -> list[Task]:
        return await self._history.database.get_tasks(self.name, project_id)

    async def _insert(self, transaction: Transaction[Task]) -> Task:
        return await self._save(transaction.mutations[0].modified, None)

    async def _update(self, transaction: Transaction[Task]) -> Task:
        mutation = transaction.mutations[0]
        return await self._save(mutation.modified, mutation.original.project_id)

    async def _save(self, task: Task, seen_in: str | None) -> Task:
        work = self._history.database.save(self.name, task, seen_in=seen_in, dies=self._dies)
        return await self._call(task.id, work)

    async def _delete(self, transaction: Transaction[Task]) -> None:
        task = transaction.mutations[0].original
        await self._call(task.id, self._history.database.remove(self.name, task, dies=self._dies))

    async def _call(self, key: str, work: Awaitable[R]) -> R:
        try:
            result = await work
        except Crash:
            self._history.kill(self)
            raise
        finally:
            if self.dead:
                self._history.database.untold.add(key)
                await asyncio.Event().wait()  # a dead process does nothing any more
        return result

    def _dies(self) -> bool:
        return self._history.writer_dies(self)


class _History:
    def __init__(self, seed: int, preset: NetworkPreset, steps: int, users: int) -> None:
        self.seed: Final = seed
        self.random: Final = random.Random(seed)  # noqa: S311 -- a simulation must replay
        self._steps = steps
        self._deadly = self.random.random() < 0.15
        self._faults = 0
        self._restless = True
        members = {user: {p for p in _PROJECTS if self.random.random() < 0.7} or {"p0"} for user in _USERS[:users]}
        loses = 0.1 if self.random.random() < 0.15 else 0.0
        self.database: Final = Database(self.random, members, loses=loses)
        conditions = Conditions(breaks=self.random.choice((0.0, 0.0, 0.01, 0.05)))
        self.sandbox: Final = RealtimeSandbox(
            authorize=self._authorize, preset=preset, seed=seed, conditions=conditions
        )
        self.users: list[_User] = []

    # -- the story -----------------------------------------------------------------------------------------------------

    async def run(self) -> HistorySummary:
        """Let everything happen, and check."""
        try:
            async with self.sandbox:
                self.users = [_User(self, name) for name in self.database.members]
                for user in self.users:
                    # Some of them are none of the user's business: nothing of those may ever show.
                    for project_id in self._some(list(_PROJECTS)):
                        user.watch(project_id)
                for _ in range(self._steps):
                    await self._step()
                    await asyncio.sleep(self.random.expovariate(2.0))
                    for user in self.users:
                        self.look_everywhere(user)
                focused = await self._come_to_rest()
        finally:
            self.database.close()
        writes = [write for user in self.users for write in user.writes]
        failed = sum(write.state == "failed" for write in writes)
        return HistorySummary(len(writes), len(self.database.ever), failed, self._faults, focused)

    async def _step(self) -> None:
        living = [user for user in self.users if not user.dead]
        user = self.random.choice(living)
        visible = [task for task in user.visible() if user.tasks.get(task.id) is not None]
        projects = sorted(self.database.members[user.name])
        match self.random.choice(_STORY):
            case "insert":
                user.insert(self.random.choice(projects))
            case "update" if visible:
                user.update(self.random.choice(visible))
            case "move" if visible:
                user.update(self.random.choice(visible), project_id=self.random.choice(projects))
            case "delete" if visible:
                user.delete(self.random.choice(visible))
            case "watch":
                project_id = self.random.choice(_PROJECTS)
                if project_id in user.queries:
                    user.leave(project_id)
                else:
                    user.watch(project_id)
            case "focus":
                user.client.lifecycle.focus()
            case "fault":
                self._faults += 1
                await self._fault(user.name)
            case _:
                pass

    async def _fault(self, name: str) -> None:
        network = self.sandbox.network
        match self.random.choice(
            ("cut", "cut", "half_open", "partition", "heal", "stall", "resume", "restart", "kill")
        ):
            case "cut":
                network.cut(name)
            case "half_open":
                network.half_open(name)
            case "partition":
                network.partition(name)
            case "heal":
                self._heal()
            case "stall":
                network.stall(name)
            case "resume":
                network.resume(name)
            case "restart":
                await self.sandbox.restart()
            case _:
                await self.sandbox.kill()
                await asyncio.sleep(self.random.expovariate(0.5))
                await self.sandbox.start()

    def _heal(self) -> None:
        for user in self.users:
            if not user.dead:
                self.sandbox.network.heal(user.name)
                self.sandbox.network.resume(user.name)

    async def _come_to_rest(self) -> bool:
        self.sandbox.network.conditions = Conditions()
        self._restless = False
        self._heal()
        await asyncio.sleep(_REST)
        living = [user for user in self.users if not user.dead]
        focused = bool(self.database.untold) or len(living) < len(self.users)
        if focused:
            for user in living:
                user.client.lifecycle.focus()
            await asyncio.sleep(_REST)
        for user in living:
            self._check_rest(user)
        for error in self.sandbox.errors:
            if not isinstance(error, (Failure, RealtimeError, TransactionError)):
                self._broken(f"somebody reported {error!r}")
        return focused

    # -- deaths --------------------------------------------------------------------------------------------------------

    def writer_dies(self, user: _User) -> bool:
        """Decide whether a user's process dies between the commit and the answer."""
        living = sum(not other.dead for other in self.users)
        return self._restless and self._deadly and living > 1 and not user.dead and self.random.random() < 0.1

    def kill(self, user: _User) -> None:
        """Let a user's process die: for the others it is as if its network were gone."""
        user.dead = True
        self.sandbox.network.partition(user.name)
        self.sandbox.network.half_open(user.name)

    # -- invariants ----------------------------------------------------------------------------------------------------

    def look_everywhere(self, user: _User) -> None:
        """Check what a user sees, in every query."""
        for project_id in user.queries:
            self.look(user, project_id)

    def look(self, user: _User, project_id: str) -> None:
        """Check what a user sees at this moment."""
        query = user.queries.get(project_id)
        if query is None or user.dead:
            return
        for task in query.get():
            if task.project_id != project_id or project_id not in self.database.members[user.name]:
                self._broken(f"{user.name} sees {task} in {project_id}, which is none of its business")
            if task in self.database.ever:
                continue
            if not (user.tasks.has_pending_writes(task.id) and task.text.startswith(f"{user.name}-")):
                self._broken(f"{user.name} sees {task}, which nobody committed and which is no change of its own")

    def _check_rest(self, user: _User) -> None:
        for write in user.writes:
            if write.state not in ("completed", "failed"):
                self._broken(f"a write of {user.name} is {write.state}: {write.mutations}")
        for project_id, query in user.queries.items():
            shown = sorted(query.get(), key=lambda task: task.id)
            member = project_id in self.database.members[user.name]
            truth = self.database.rows(project_id) if member else []
            if shown != truth:
                extra, missing = [t for t in shown if t not in truth], [t for t in truth if t not in shown]
                self._broken(f"{user.name} sees in {project_id} {extra} that is not there, and not {missing} that is")
            pending = [task for task in shown if user.tasks.has_pending_writes(task.id)]
            if pending:
                self._broken(f"{user.name} still has optimistic state: {pending}")
        if not user.client.is_connected:
            self._broken(f"{user.name} is {user.client.store.state}")

    def _broken(self, what: str) -> None:
        recent = "\n".join(
            f"  {at:8.3f} {client or 'network'}: {event}" for at, client, event in self.sandbox.network.trace
        )
        now = asyncio.get_running_loop().time()
        raise HistoryError(f"history {self.seed} at second {now:.3f}: {what}\n{recent}")

    # -- inside --------------------------------------------------------------------------------------------------------

    def _authorize(self, user_id: str, channel: Channel) -> Permissions:
        member = channel.params["project_id"] in self.database.members[user_id]
        return Permissions(subscribe=member, publish=member)

    def _some(self, projects: list[str]) -> list[str]:
        return self.random.sample(projects, self.random.randint(1, len(projects)))


_FAULTS: Final = ("cut", "cut", "half_open", "partition", "heal", "stall", "resume", "restart", "kill")
_STORY: Final = (
    *("insert",) * 5,
    *("update",) * 6,
    *("move",) * 3,
    *("delete",) * 2,
    *("watch",) * 2,
    "focus",
    *("fault",) * 5,
)
