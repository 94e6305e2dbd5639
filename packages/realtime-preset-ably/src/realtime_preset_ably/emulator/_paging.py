"""Pages of a list, and the links between them.

A page ends with an item, and the link to the next page names it. Where it is no longer kept, everything older is gone
too, so that a page backwards from it is empty and one forwards begins at what is left.

https://ably.com/docs/api/rest-api#pagination
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from ._errors import AblyError, bad_request
from ._http import Request, Response
from ._wire import for_reader

__all__ = ["DEFAULT_LIMIT", "MAX_LIMIT", "Paging", "page", "parse_paging"]

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list is wanted.

    Attributes:
        start: The first moment, in milliseconds since the epoch.
        end: The last one, which belongs to it.
        limit: How many items there are on a page.
        backwards: Whether the newest comes first.
        after: The item that the page before ended with.
        query: All parameters, to be repeated in links.
    """

    start: int | None
    end: int | None
    limit: int
    backwards: bool
    after: str | None
    query: Mapping[str, str]


def page(items: Sequence[Mapping[str, Any]], paging: Paging, request: Request) -> Response:
    """Return one page of messages.

    Args:
        items: All of them, oldest first, each with an ``id`` or a ``serial`` of its own.
        paging: The page.
        request: What is answered. Links are relative to its path.
    """
    found = [item for item in items if _within(item, paging)]
    if paging.backwards:
        found.reverse()
    if paging.after is not None:
        place = next((index for index, item in enumerate(found) if _name(item) == paging.after), None)
        found = found[place + 1 :] if place is not None else [] if paging.backwards else found
    shown = found[: paging.limit]
    links = [_link(request, paging, "first", None), _link(request, paging, "current", paging.after)]
    if len(found) > len(shown):
        links.append(_link(request, paging, "next", _name(shown[-1])))
    return Response(200, [_readable(item, request) for item in shown], links)


def parse_paging(request: Request) -> Paging:
    """Read the parameters of a list.

    Raises:
        AblyError: 40000 for one that is not what it should be.
    """
    query = request.query
    direction = query.get("direction", "backwards")
    if direction not in ("backwards", "forwards"):
        raise bad_request(f"direction is backwards or forwards, not {direction!r}")
    limit = _whole(query, "limit")
    if limit is not None and not 0 < limit <= MAX_LIMIT:
        raise bad_request(f"limit is between 1 and {MAX_LIMIT}, not {limit}")
    start, end = _whole(query, "start"), _whole(query, "end")
    if start is not None and end is not None and start > end:
        raise AblyError("start lies after end", 40000)
    return Paging(
        start=start,
        end=end,
        limit=DEFAULT_LIMIT if limit is None else limit,
        backwards=direction == "backwards",
        after=query.get("after"),
        query={name: value for name, value in query.items() if name not in ("key", "access_token", "accessToken")},
    )


def _readable(item: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
    return for_reader({name: value for name, value in item.items() if value is not None}, request.format)


def _within(item: Mapping[str, Any], paging: Paging) -> bool:
    timestamp: int = item["timestamp"]
    return (paging.start is None or timestamp >= paging.start) and (paging.end is None or timestamp <= paging.end)


def _name(item: Mapping[str, Any]) -> str:
    return str(item.get("serial") or item["id"])


def _link(request: Request, paging: Paging, rel: str, after: str | None) -> tuple[str, str]:
    query = {name: value for name, value in paging.query.items() if name != "after"}
    if after is not None:
        query["after"] = after
    parameters = f"?{urlencode(query)}" if query else ""
    return ("link", f'<./{quote(request.path[-1], safe="")}{parameters}>; rel="{rel}"')


def _whole(query: Mapping[str, str], name: str) -> int | None:
    value = query.get(name)
    if value is None or value == "":
        return None
    if not value.isascii() or not value.isdecimal() or len(value) > 16:
        raise bad_request(f"{name} is a whole number, not {value[:50]!r}")
    return int(value)
