"""Where a call of a server function runs: here, or at a client.

Layers are asked from the newest to the oldest, first those of the current context, then those of the process. The
first that covers the function makes the call. Where none does, the function runs right here.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from ._function import FunctionSpec

__all__ = ["Caller", "defaults", "layer", "resolve"]


class Caller(Protocol):
    """Makes calls of the functions that it covers."""

    def covers(self, spec: FunctionSpec, /) -> bool: ...

    async def call(self, spec: FunctionSpec, args: tuple[Any, ...], kwargs: Mapping[str, Any], /) -> Any: ...


defaults: Final[list[Caller]] = []
"""The layers of the process, oldest first."""

_layers: Final[ContextVar[tuple[Caller, ...]]] = ContextVar("tanstack_start.layers", default=())


@contextmanager
def layer(caller: Caller) -> Generator[None]:
    """Put a layer on top, for this context and for the tasks that it starts."""
    token = _layers.set((*_layers.get(), caller))
    try:
        yield
    finally:
        _layers.reset(token)


def resolve(spec: FunctionSpec) -> Caller | None:
    """Return who makes a call of this function; None: it runs here."""
    for layers in (_layers.get(), defaults):
        for caller in reversed(layers):
            if caller.covers(spec):
                return caller
    return None
