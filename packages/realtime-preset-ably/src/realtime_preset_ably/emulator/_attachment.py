"""One connection's attachment to one channel: what it hears, and where it goes on after an interruption.

An attachment outlives its socket. On a new socket it stays silent until the client attaches again and says what it saw
last; then it gets the rest, once, before anything new.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ._access import Access
from ._channel import Channel
from ._errors import AblyError, denied
from ._limits import Limits
from ._log import Entry
from ._names import ChannelName, Rewind, parse_rewind, requested_modes
from ._outbox import Outbox
from ._wire import Action, Flag, Frame, Message

__all__ = ["Attachment", "Peer", "granted_modes"]

_OPERATIONS = {
    "presence": Flag.PRESENCE,
    "publish": Flag.PUBLISH,
    "subscribe": Flag.SUBSCRIBE | Flag.PRESENCE_SUBSCRIBE,
}


@dataclass(eq=False, slots=True)
class Peer:
    """Who is on the other side of a connection.

    Attributes:
        id: The connection's id.
        access: What it may do.
        identity: Its client id; ``None`` for nobody in particular.
        echo: Whether it hears its own messages.
        outbox: The way to its socket; a closed one while it has none.
    """

    id: str
    access: Access
    identity: str | None
    echo: bool
    outbox: Outbox


def granted_modes(access: Access, channel: str) -> Flag:
    """Return the modes that a capability allows on a channel."""
    modes = Flag(0)
    for operation in access.capability.operations(channel):
        modes |= _OPERATIONS.get(operation, Flag(0))
    return modes


class Attachment:
    """A reader of a channel.

    Attributes:
        name: The channel as the client names it.
        channel: The channel.
        modes: What it may do and hear: what it asked for and its capability allows.
        is_live: Whether it was attached on the present socket.
    """

    def __init__(self, peer: Peer, name: ChannelName, channel: Channel, limits: Limits) -> None:
        """Begin silent; :meth:`attach` makes it live."""
        self.name = name
        self.channel = channel
        self.modes = Flag(0)
        self.is_live = False
        self._peer = peer
        self._limits = limits
        self._requested = Flag(0)
        self._echo = True
        self._position = ""

    def attach(self, request: Mapping[str, object], name: ChannelName, now: int) -> None:
        """Answer an ATTACH, and send what the client missed and who is present.

        Args:
            request: The ATTACH.
            name: The channel's name and parameters in it.
            now: The time.

        Raises:
            AblyError: 40160 if the capability allows none of the modes, 40003 for a bad rewind.
        """
        flags, serial = request.get("flags"), request.get("channelSerial")
        flags = Flag(flags) if isinstance(flags, int) else Flag(0)
        rewind = parse_rewind(name.params.get("rewind"))
        self._requested = requested_modes(flags, name.params)
        self.modes = self._allowed()
        self.name = name
        self._echo = name.params.get("echo") != "false"
        log, error = self.channel.log, None
        start, replay, resumed = log.head, list[Frame](), False
        if isinstance(serial, str) and serial:
            # What was written to this very socket has arrived, or will: the client's own word may be older.
            start = max(serial, self._position) if self.is_live and log.owns(serial) else serial
            try:
                replay, resumed = self._frames(log.after(start, now - self._limits.log_window)), True
            except AblyError as caught:
                start, error = log.head, caught.info()
        elif Flag.ATTACH_RESUME in flags:
            resumed = self.is_live
        elif rewind is not None:
            replay = self._rewound(rewind, now)
        self.is_live = True
        self._position = log.head
        self._send_attached(start, replay, resumed=resumed, error=error)

    def renew(self) -> bool:
        """Follow a changed capability; tell the client of other modes.

        Raises:
            AblyError: 40160 if nothing is left.
        """
        before, self.modes = self.modes, self._allowed()
        if self.modes != before and self.is_live:
            self._send_attached(self.channel.log.head, [], resumed=True, error=None)
        return self.modes != before

    def deliver(self, entry: Entry) -> None:
        """Write what was sent on the channel, if this is live and may hear it."""
        if self.is_live:
            self._position = entry.serial
            self._peer.outbox.send(*self._frames([entry]))

    def sync(self) -> list[Frame]:
        """Return the presence set in SYNC pages, the last with an empty cursor."""
        pages = self.channel.sync()
        return [
            Frame(
                Action.SYNC,
                channel=self.name.wire,
                channelSerial=f"{self.channel.log.head.partition('@')[0]}:{page if page < len(pages) else ''}",
                presence=[{key: value for key, value in member.items() if value is not None} for member in members],
            )
            for page, members in enumerate(pages, 1)
        ]

    def _allowed(self) -> Flag:
        modes = self._requested & granted_modes(self._peer.access, self.channel.name)
        if not modes:
            raise denied("attach", self.channel.name)
        return modes

    def _send_attached(self, start: str, replay: list[Frame], *, resumed: bool, error: object) -> None:
        has_presence = Flag.PRESENCE_SUBSCRIBE in self.modes and len(self.channel.members) > 0
        flags = self.modes
        flags |= Flag.RESUMED if resumed else 0
        flags |= Flag.HAS_BACKLOG if replay else 0
        flags |= Flag.HAS_PRESENCE if has_presence else 0
        attached = Frame(
            Action.ATTACHED,
            channel=self.name.wire,
            channelSerial=start,
            flags=int(flags),
            params=dict(self.name.params) or None,
            error=error,
        )
        self._peer.outbox.send(attached, *replay, *(self.sync() if has_presence else ()))

    def _frames(self, entries: list[Entry]) -> list[Frame]:
        frames = [entry.frame for entry in entries if self._hears(entry.frame)]
        return frames if self.name.wire == self.channel.name else [self._renamed(frame) for frame in frames]

    def _hears(self, frame: Frame) -> bool:
        own = frame.fields.get("connectionId") == self._peer.id
        if frame.action is Action.PRESENCE:
            # Whoever is present is told of it, though it may not see others.
            return own or Flag.PRESENCE_SUBSCRIBE in self.modes
        return Flag.SUBSCRIBE in self.modes and not (own and not (self._peer.echo and self._echo))

    def _rewound(self, rewind: Rewind, now: int) -> list[Frame]:
        log = self.channel.log
        if rewind.duration is not None:
            return self._frames(log.since(now - rewind.duration))
        frames: list[Frame] = []
        for entry, skip in log.latest(rewind.count or 0):
            for frame in self._frames([entry]):
                messages: list[Message] = frame.fields["messages"]
                frames.append(_with(frame, messages=messages[skip:]) if skip else frame)
        return frames

    def _renamed(self, frame: Frame) -> Frame:
        return _with(frame, channel=self.name.wire)


def _with(frame: Frame, **changes: object) -> Frame:
    fields = {**frame.fields, **changes}
    return Frame(Action(fields.pop("action")), **fields)
