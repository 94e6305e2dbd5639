"""What REST does with channels: publish, read what was published, see who is present."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from ._access import Access
from ._channel import Channel
from ._errors import AblyError, bad_request, denied
from ._http import Request, Response
from ._messages import check_messages
from ._names import parse_name
from ._paging import page, parse_paging
from ._realtime import Realtime
from ._wire import Action, Format, Message, for_reader

__all__ = ["Resources"]

_METRICS: Final = (
    "connections",
    "publishers",
    "subscribers",
    "presenceConnections",
    "presenceMembers",
    "presenceSubscribers",
)


class Resources:
    """Channels, behind capabilities."""

    def __init__(self, realtime: Realtime) -> None:
        """Work on the channels of a server."""
        self._realtime = realtime

    def publish(self, access: Access, identity: str | None, channel: str, body: object) -> Mapping[str, Any]:
        """Publish a message, or several at once.

        Args:
            access: Who publishes.
            identity: The client id of the request.
            channel: The channel.
            body: A message, or a list of them, as it came.

        Raises:
            AblyError: 40160 without ``publish``, 40010 for a bad name, 40006 for an unknown ``connectionKey``, and what
                is wrong with the messages.
        """
        name = parse_name(channel).name
        access.require("publish", name)
        found: list[object] = cast("list[object]", body) if isinstance(body, list) else [body]
        connection_id, author = self._connection(found, access, identity)
        messages = check_messages(
            found, lambda claimed: access.author(claimed, author), self._realtime.limits.message_size
        )
        target = self._realtime.app(access.app_id).channel(name)
        published = target.publish(messages, self._realtime.now(), connection_id, secrets.token_urlsafe(9))
        return {"channel": channel, "messageId": published.id, "serials": list(published.serials)}

    def history(self, access: Access, channel: str, request: Request) -> Response:
        """Return a page of what was published. Needs ``history``."""
        return self._past(Action.MESSAGE, access, channel, request)

    def presence_history(self, access: Access, channel: str, request: Request) -> Response:
        """Return a page of presence events. Needs ``history``."""
        return self._past(Action.PRESENCE, access, channel, request)

    def presence(self, access: Access, channel: str, request: Request) -> Response:
        """Return a page of the members. Needs ``subscribe`` or ``presence``."""
        paging = parse_paging(request)
        members = self._members(access, channel)
        for parameter in ("clientId", "connectionId"):
            wanted = request.query.get(parameter)
            if wanted is not None:
                members = [member for member in members if member[parameter] == wanted]
        return page(members, paging, request)

    def members(self, access: Access, channel: str, format: Format) -> Sequence[Mapping[str, Any]]:  # noqa: A002
        """Return all members of a channel, for a reader of a format. Needs ``subscribe`` or ``presence``."""
        return [for_reader(member, format) for member in self._members(access, channel)]

    def status(self, access: Access, channel: str) -> Mapping[str, Any]:
        """Return by how many a channel is used. Needs ``channel-metadata``.

        To ask for a channel is to use it, so the answer always says that it is active, as Ably's does.
        """
        name = parse_name(channel).name
        access.require("channel-metadata", name)
        found = self._find(access, name)
        metrics = dict.fromkeys(_METRICS, 0) if found is None else found.occupancy()
        return {
            "channelId": name,
            "status": {"isActive": True, "occupancy": {"metrics": metrics}},
        }

    def _past(self, action: Action, access: Access, channel: str, request: Request) -> Response:
        name = parse_name(channel).name
        access.require("history", name)
        paging = parse_paging(request)
        until = request.query.get("from_serial") or request.query.get("fromSerial")
        if until is not None and not paging.backwards:
            raise bad_request("what came before an attach is read backwards")
        found = self._find(access, name)
        return page([] if found is None else list(found.history(action, self._realtime.now(), until)), paging, request)

    def _members(self, access: Access, channel: str) -> Sequence[Message]:
        name = parse_name(channel).name
        if not access.capability.operations(name) & {"subscribe", "presence"}:
            raise denied("subscribe", name)
        found = self._find(access, name)
        return [] if found is None else list(found.members)

    def _find(self, access: Access, name: str) -> Channel | None:
        return self._realtime.app(access.app_id).find(name)

    def _connection(
        self, messages: Sequence[object], access: Access, identity: str | None
    ) -> tuple[str | None, str | None]:
        """Return the connection that messages are published for, and the client id that goes with it."""
        keys = [cast("dict[str, object]", item).get("connectionKey") for item in messages if isinstance(item, dict)]
        key = keys[0] if keys else None
        if any(other != key for other in keys):
            raise bad_request("messages that are published together have one connectionKey")
        if key is None or key == "":
            return None, identity
        found = self._realtime.connection(key) if isinstance(key, str) else None
        if found is None:
            raise AblyError("there is no connection with this connectionKey", 40006)
        connection_id, client_id = found
        return connection_id, access.identify(client_id)
