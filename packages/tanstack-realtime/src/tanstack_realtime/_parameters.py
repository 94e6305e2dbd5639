"""The parameters of a collection: what `query_fn` and `channel` take, and which column of a row says which.

A realtime collection is loaded by parameter. The parameters are those of ``query_fn``; ``channel`` takes the same and
names the channel they are live on; a row's own columns say to which channel the row belongs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any, Final, get_type_hints
from uuid import UUID

from ._errors import ChannelError, ConfigurationError
from ._keys import Channel, ChannelLike, serialize_key

__all__ = ["Parameters"]

_PLACEHOLDERS: Final[Mapping[object, object]] = {int: 0, "int": 0, UUID: UUID(int=0), "UUID": UUID(int=0)}


class Parameters:
    """Checked once, when the collection is declared.

    Args:
        id: the collection's id, for errors.
        query_fn: loads the rows of one set of parameters.
        channel: a namespace, or a function from parameters to a channel.
        columns: parameter name -> column, where the two differ.
        row_columns: columns of the row type, or None where it does not tell.
        role: what `query_fn` is called in this kind of collection, for errors.

    Attributes:
        columns: parameter name -> column, for every parameter.

    Raises:
        ConfigurationError: the two functions disagree, or a parameter has no column.
    """

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 -- the option's name
        query_fn: Callable[..., object],
        channel: str | Callable[..., ChannelLike],
        columns: Mapping[str, str] | None,
        row_columns: Collection[str] | None,
        role: str = "query_fn",
    ) -> None:
        self._id = id
        self._channel = channel
        self._role = role
        names = _required(query_fn, id, role)
        if isinstance(channel, str):
            try:
                serialize_key((channel, {}))
            except ChannelError as error:
                raise ConfigurationError(f"collection {id!r}: channel={channel!r} names no channel: {error}") from error
        else:
            wanted = _required(channel, id, "channel")
            if inspect.iscoroutinefunction(channel):
                raise ConfigurationError(
                    f"collection {id!r}: channel must be a plain function, not a coroutine function"
                )
            if set(wanted) != set(names):
                raise ConfigurationError(
                    f"collection {id!r}: {role} takes {_listed(names)} and channel takes {_listed(wanted)}; they "
                    f"must take the same. Give {role}'s further parameters a default, or add them to channel."
                )
        unknown = set(columns or {}) - set(names)
        if unknown:
            raise ConfigurationError(
                f"collection {id!r}: params names {_listed(sorted(unknown))}, which {role} does not take; it takes "
                f"{_listed(names)}"
            )
        self.columns: Mapping[str, str] = {name: (columns or {}).get(name, name) for name in names}
        if row_columns is not None:
            for name, column in self.columns.items():
                if column not in row_columns:
                    raise ConfigurationError(
                        f"collection {id!r}: parameter {name!r} has no column {column!r} in its rows, which have "
                        f"{_listed(sorted(row_columns))}. Name the column with params={{{name!r}: '…'}}."
                    )
        self._types: Mapping[str, type] = {
            name: wanted for name, wanted in _annotations(query_fn).items() if wanted in (str, int, UUID)
        }
        # Every row of a snapshot asks for its channel, and they are few. Typed, since 1 == True.
        self._cached = lru_cache(maxsize=1024, typed=True)(self._wire)

    def channel(self, values: Mapping[str, Any]) -> str:
        """Return the wire string of the channel of these parameter values.

        Raises:
            ChannelError: a value that no channel can carry.
        """
        return self.channel_of(*[values[name] for name in self.columns])

    def channel_of(self, *values: Any) -> str:
        """Return what `channel` does for values in the order of `columns`."""
        try:
            return self._cached(*values)
        except TypeError:
            # A value that cannot be hashed cannot be in a channel either; this raises what says so.
            return self._wire(*values)

    def _wire(self, *values: Any) -> str:
        named = dict(zip(self.columns, values, strict=True))
        return serialize_key((self._channel, named) if isinstance(self._channel, str) else self._channel(**named))

    def check(self, values: Mapping[str, Any]) -> None:
        """Refuse a value of another type than ``query_fn`` says that it takes.

        ``5`` and ``"5"`` are one channel, so rows that were loaded with the wrong one would be everybody's.

        Raises:
            ConfigurationError: names the parameter, the value and the type.
        """
        for name, value in values.items():
            wanted = self._types.get(name)
            if wanted is not None and not isinstance(value, wanted):
                raise ConfigurationError(
                    f"collection {self._id!r}: {name}={value!r} is a {type(value).__name__}, and {self._role} takes "
                    f"{wanted.__name__}; compare the column with a {wanted.__name__}"
                )

    def declared(self) -> tuple[str, frozenset[str]] | None:
        """Return namespace and parameter names of the channels, for the server's gate; None if only calls can tell."""
        if isinstance(self._channel, str):
            return self._channel, frozenset(self.columns)
        annotations = inspect.get_annotations(self._channel)
        try:
            made = self._channel(**{name: _PLACEHOLDERS.get(annotations.get(name), "x") for name in self.columns})
            namespace, params = (made.namespace, made.params) if isinstance(made, Channel) else made
        except Exception:  # noqa: BLE001 -- the application's function may refuse placeholders; it is asked again with values
            return None
        return namespace, frozenset(params)


def _required(function: Callable[..., object], id: str, role: str) -> list[str]:  # noqa: A002
    """Names of the parameters without a default."""
    if not callable(function):
        raise ConfigurationError(f"collection {id!r}: {role} must be a function, not {function!r}")
    names: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigurationError(
                f"collection {id!r}: {role} has the parameter {str(parameter)!r}; its parameters are called by name, "
                "so declare each one, without * and /"
            )
        if parameter.default is parameter.empty:
            names.append(parameter.name)
    return names


def _annotations(function: Callable[..., object]) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except Exception:  # noqa: BLE001 -- an annotation that cannot be evaluated here says nothing
        return {}


def _listed(names: Collection[str]) -> str:
    return "(" + ", ".join(names) + ")"
