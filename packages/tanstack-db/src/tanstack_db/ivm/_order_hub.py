"""One order for all windows on equal rows: many pages of one table cost one insertion for a change, and one load.

The first window keeps the order, as it would alone, and costs no more. Windows that come later follow it: they read
neither the source nor a condition, but take the steps of the first one's order. When the first one leaves, the next
takes over.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ._order_index import OrderIndex, Step, Steps

if TYPE_CHECKING:
    from .._base.relation import Relation

__all__ = ["Member", "OrderHub"]


@dataclass(eq=False, slots=True)
class Member:
    """One window, as the hub sees it.

    Attributes:
        before: called before the order changes: what was not read of it yet has to be read now.
        changed: called when there are steps.
        take_over: keep the order from now on.
        reload: begin again, with another hub.
        steps: what the order has done and the window has not taken yet.
    """

    before: Callable[[], None]
    changed: Callable[[], None]
    take_over: Callable[[], None]
    reload: Callable[[], None]
    steps: list[Step] = field(default_factory=list[Step])


class OrderHub:
    """The windows on one order of one relation.

    Attributes:
        index: the order.
    """

    __slots__ = ("_keeper", "_members", "_name", "_relation", "index")

    def __init__(self, relation: Relation, name: Hashable, index: OrderIndex) -> None:
        self.index = index
        self._relation = relation
        self._name = name
        self._keeper: Member | None = None
        self._members: dict[Member, None] = {}

    @classmethod
    def of(cls, relation: Relation, name: Hashable, index: OrderIndex) -> OrderHub:
        """Return the hub of an order, shared by everybody who reads this relation.

        Args:
            relation: whose rows are ordered.
            name: equal for equal orders of equal rows.
            index: the order, where there is no hub yet.
        """
        hub: OrderHub = relation.shared.get((cls, name)) or cls(relation, name, index)
        relation.shared[(cls, name)] = hub
        return hub

    def join(self, member: Member) -> bool:
        """One more window. Returns whether it keeps the order."""
        self._members[member] = None
        if self._keeper is None:
            self._keeper = member
        return self._keeper is member

    def leave(self, member: Member, *, is_settled: bool) -> None:
        """One window less.

        Args:
            member: which one.
            is_settled: whether the order is that of the relation's rows: no batch is open. If not, the others begin
                again, since nobody knows what the keeper would still have told.
        """
        self._members.pop(member, None)
        if self._keeper is not member and not self.index.is_broken:
            return
        self._keeper = next(iter(self._members), None)
        if self._keeper is not None and is_settled and not self.index.is_broken:
            self._keeper.take_over()
            return
        if self._relation.shared.get((OrderHub, self._name)) is self:
            del self._relation.shared[(OrderHub, self._name)]
        members, self._members = self._members, {}
        for other in members:
            other.reload()

    def before(self) -> None:
        """The order is about to change."""
        for member in self._members:
            if member is not self._keeper:
                member.before()

    def tell(self, steps: Steps) -> None:
        """The order has changed."""
        for member in self._members:
            if member is not self._keeper:
                member.steps += steps
                member.changed()
