"""Capabilities: which operations on which channels.

A capability maps resource patterns to operations: ``{"todos:*": ["subscribe"], "chat": ["*"]}``. The rules are those of
https://ably.com/docs/auth/capabilities:

* A pattern is cut at each ``:``. A segment ``*`` matches one whole segment; at the end it matches one or more. ``foo*``
  is a literal name.
* ``[meta]x`` and ``[queue]x`` are other kinds of resource, which a pattern without brackets does not match. ``[*]*``
  matches everything.
* The operations on a channel are the union over all patterns that match.
* A token gets what it asks for and its key has: :meth:`Capability.intersect`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Final, cast

from ._errors import bad_request
from ._plain import from_json

__all__ = ["MAX_RESOURCES", "OPERATIONS", "Capability"]

OPERATIONS: Final = frozenset(
    {
        "annotation-publish",
        "annotation-subscribe",
        "channel-metadata",
        "history",
        "message-delete-any",
        "message-delete-own",
        "message-update-any",
        "message-update-own",
        "object-publish",
        "object-subscribe",
        "presence",
        "privileged-headers",
        "publish",
        "push-admin",
        "push-subscribe",
        "stats",
        "subscribe",
    }
)
"""All operations that a capability may name. ``["*"]`` stands for all of them."""

MAX_RESOURCES: Final = 1000
"""How many patterns one capability may hold. Both sides of an intersection are bounded by it."""

_ALL: Final = frozenset({"*"})
_BRACKETS: Final = re.compile(r"\[([^\]?]*)(?:\?[^\]]*)?\](.*)", re.DOTALL)


class Capability:
    """An immutable set of grants.

    Attributes:
        grants: Operations by pattern. ``frozenset({"*"})`` stands for all operations.
    """

    __slots__ = ("_patterns", "grants")

    grants: Mapping[str, frozenset[str]]

    def __init__(self, grants: Mapping[str, frozenset[str]]) -> None:
        """Hold grants that were checked before; :meth:`parse` checks."""
        self.grants = grants
        self._patterns = [(_Pattern(resource), operations) for resource, operations in grants.items()]

    @classmethod
    def parse(cls, value: object) -> Capability:
        """Read a capability.

        Args:
            value: A JSON string, or what such a string holds.

        Returns:
            The capability. An empty one grants nothing.

        Raises:
            AblyError: 40000 if it is not a mapping of patterns to lists of known operations.
        """
        if isinstance(value, str):
            try:
                value = from_json(value)
            except ValueError:
                raise bad_request('a capability is a JSON object, as in {"todos":["subscribe"]}') from None
        if not isinstance(value, dict):
            raise bad_request(f"a capability is an object of lists, not {type(value).__name__}")
        grants = cast("dict[object, object]", value)
        if len(grants) > MAX_RESOURCES:
            raise bad_request(f"a capability names at most {MAX_RESOURCES} resources, not {len(grants)}")
        return cls({_resource(key): _operations(key, found) for key, found in grants.items()})

    def operations(self, channel: str) -> frozenset[str]:
        """Return the operations that are granted on a channel, each by its own name."""
        name = _Pattern(channel)
        granted: set[str] = set()
        for pattern, operations in self._patterns:
            if pattern.matches(name):
                if operations == _ALL:
                    return OPERATIONS
                granted |= operations
        return frozenset(granted)

    def allows(self, channel: str, operation: str) -> bool:
        """Tell whether an operation is granted on a channel."""
        return operation in self.operations(channel)

    def allows_anywhere(self, operation: str) -> bool:
        """Tell whether an operation is granted on any resource, as ``stats`` is asked for."""
        return any(operations == _ALL or operation in operations for operations in self.grants.values())

    def intersect(self, other: Capability) -> Capability:
        """Return what both grant.

        Two patterns that overlap give the narrower one; their operations are intersected.
        """
        grants: dict[str, frozenset[str]] = {}
        for mine, my_operations in self._patterns:
            for yours, your_operations in other._patterns:
                operations = _common(my_operations, your_operations)
                if operations and (resource := mine.meet(yours)) is not None:
                    grants[resource] = _union(grants.get(resource, frozenset()), operations)
        return Capability(grants)

    def to_json(self) -> str:
        """Return the canonical text: sorted, without spaces."""
        grants = {resource: sorted(self.grants[resource]) for resource in sorted(self.grants)}
        return json.dumps(grants, separators=(",", ":"), ensure_ascii=False)

    def __bool__(self) -> bool:
        return bool(self.grants)

    def __eq__(self, other: object) -> bool:
        return self.grants == other.grants if isinstance(other, Capability) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self.grants.items()))

    def __repr__(self) -> str:
        return f"Capability({self.to_json()})"


class _Pattern:
    """A resource in parts: its kind, its segments, and whether a last ``*`` follows them."""

    __slots__ = ("kind", "open", "segments")

    def __init__(self, resource: str) -> None:
        found = _BRACKETS.fullmatch(resource)
        self.kind, name = found.groups() if found else ("", resource)
        self.segments = name.split(":")
        self.open = self.segments[-1] == "*"
        if self.open:
            self.segments.pop()

    def matches(self, name: _Pattern) -> bool:
        """Tell whether a name (not a pattern: its stars are letters) is one of the pattern's."""
        given = [*name.segments, "*"] if name.open else name.segments
        if self.kind not in ("*", name.kind):
            return False
        if len(given) <= len(self.segments) if self.open else len(given) != len(self.segments):
            return False
        return all(mine in ("*", yours) for mine, yours in zip(self.segments, given, strict=False))

    def meet(self, other: _Pattern) -> str | None:
        """Return the pattern of the names that both match, ``None`` where there are none."""
        kind = _narrower(self.kind, other.kind)
        # An open pattern is at least one segment longer than it looks, so among equals it is the longer one.
        short, long = sorted((self, other), key=lambda pattern: (len(pattern.segments), pattern.open))
        if kind is None or (not short.open and (long.open or len(short.segments) != len(long.segments))):
            return None
        segments: list[str] = []
        for mine, yours in zip_longest(short.segments, long.segments, fillvalue="*"):
            segment = _narrower(mine, yours)
            if segment is None:
                return None
            segments.append(segment)
        if long.open:
            segments.append("*")
        return (f"[{kind}]" if kind else "") + ":".join(segments)


def _narrower(left: str, right: str) -> str | None:
    if left in ("*", right):
        return right
    return left if right == "*" else None


def _common(left: frozenset[str], right: frozenset[str]) -> frozenset[str]:
    if left == _ALL:
        return right
    return left if right == _ALL else left & right


def _union(left: frozenset[str], right: frozenset[str]) -> frozenset[str]:
    return _ALL if _ALL in (left, right) else left | right


def _resource(key: object) -> str:
    if not isinstance(key, str) or not key:
        raise bad_request(f"a resource of a capability is a channel name or pattern, not {key!r}")
    return key


def _operations(resource: object, found: object) -> frozenset[str]:
    if not isinstance(found, list | tuple):
        raise bad_request(f'the capability of {resource!r} is a list of operations, as in ["subscribe"]')
    operations = list(cast("Iterable[object]", found))
    if not operations:
        raise bad_request(f"the capability of {resource!r} names no operation; leave the resource out")
    if operations == ["*"]:
        return _ALL
    for operation in operations:
        if operation == "*":
            raise bad_request(f'the capability of {resource!r}: "*" stands alone, without other operations')
        if not isinstance(operation, str) or operation not in OPERATIONS:
            known = ", ".join(sorted(OPERATIONS))
            raise bad_request(f"the capability of {resource!r} names {operation!r}, which is none of: {known}")
    return frozenset(str(operation) for operation in operations)
