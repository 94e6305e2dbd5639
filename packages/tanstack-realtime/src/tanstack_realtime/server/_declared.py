"""Which parameter names a namespace has, where the application says so.

A mapping pattern such as ``case Channel("todos", {"project_id": pid})`` ignores extra keys, so that
``todos:project_id=1&x=2`` would be granted like ``todos:project_id=1`` while being another channel. With the names
declared, the gate refuses it before `authorize` runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol, TypeAlias, cast, runtime_checkable

from tanstack_realtime._errors import ChannelError, ConfigurationError
from tanstack_realtime._keys import Channel

__all__ = ["Channels", "DeclaredChannels", "DeclaresChannel"]


@runtime_checkable
class DeclaresChannel(Protocol):
    """Something that knows its channel's shape, for example a realtime collection's options."""

    @property
    def declared_channel(self) -> tuple[str, Collection[str]] | None:
        """Namespace and parameter names; None where they are not known before a call."""
        ...


Channels: TypeAlias = Mapping[str, Collection[str]] | Iterable[DeclaresChannel]
"""Namespace to parameter names, or objects that declare their channel."""


class DeclaredChannels:
    """The declared shapes. A namespace that nobody declared is left to `authorize`."""

    def __init__(self, channels: Channels | None = None) -> None:
        self._names: dict[str, set[frozenset[str]]] = {}
        self._server_published: set[str] = set()
        if channels is None:
            return
        if isinstance(channels, Mapping):
            for namespace, names in cast("Mapping[object, object]", channels).items():
                self._declare(namespace, names)
            return
        for item in channels:
            if not isinstance(cast("object", item), DeclaresChannel):
                raise ConfigurationError(
                    f"channels= holds {item!r}, which does not declare a channel; pass collections, or a mapping such "
                    "as {'todos': {'project_id'}}"
                )
            declared = item.declared_channel
            if declared is not None:
                self._declare(*declared)
                if getattr(item, "server_published", False):
                    self._server_published.add(declared[0])

    def _declare(self, namespace: object, names: object) -> None:
        listed: list[object] | None = None
        if isinstance(names, Collection) and not isinstance(names, (str, bytes)):
            listed = list(cast("Collection[object]", names))
        if not isinstance(namespace, str) or listed is None:
            raise ConfigurationError(
                f"channels= declares {namespace!r}: {names!r}; write {{'namespace': {{'parameter', …}}}}"
            )
        shape = frozenset(name for name in listed if isinstance(name, str))
        if len(shape) != len(listed):
            raise ConfigurationError(f"channels= declares {namespace!r} with parameter names that are not distinct str")
        self._names.setdefault(namespace, set()).add(shape)

    def is_server_published(self, channel: Channel) -> bool:
        """Whether a collection with ``publish="server"`` declared the channel's namespace."""
        return channel.namespace in self._server_published

    def check(self, channel: Channel) -> None:
        """Raise `ChannelError` if the channel's namespace is declared with other parameter names."""
        shapes = self._names.get(channel.namespace)
        if shapes is not None and frozenset(channel.params) not in shapes:
            raise ChannelError(
                f"namespace {channel.namespace!r} does not have exactly the parameters {sorted(channel.params)}",
                reason="the namespace has other parameters",
            )
