"""`StandIn`: what an aggregate returns in the trace, where its value is not known yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["StandIn"]


class StandIn:
    """Goes through any plain computation without an opinion, so that the aggregates after it are reached as well."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: object, **kwargs: object) -> StandIn:
        return self

    def __getitem__(self, item: object) -> StandIn:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __round__(self, digits: int | None = None) -> StandIn:
        return self

    def __bool__(self) -> bool:
        return True

    def __int__(self) -> int:
        return 1

    def __index__(self) -> int:
        return 1

    def __float__(self) -> float:
        return 1.0

    def __hash__(self) -> int:
        return id(self)

    def __format__(self, spec: str) -> str:
        return "?"

    def __repr__(self) -> str:
        return "<value of an aggregate>"


def _same(self: StandIn, *others: object) -> StandIn:
    return self


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
    setattr(StandIn, f"__{_name}__", _same)
    setattr(StandIn, f"__r{_name}__", _same)
for _name in ("lt", "le", "eq", "ne", "gt", "ge", "neg", "pos", "abs", "invert"):
    setattr(StandIn, f"__{_name}__", _same)
