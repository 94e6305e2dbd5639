"""TanStack Realtime preset: an in-process WebSocket server, no other service.

Layers, top down; docs/protocol.md describes what crosses the wire::

    testing                        the preset on a simulated network
    _preset                        the preset object that the entry point names
    _websockets  _browser          whose WebSocket a client takes
    _client  _local                a client's transports: WebSocket, in process
    _link                          a client's side of one connection
    uvicorn                        a protocol class that gives the server its transports and its messages
    _server  _workers              the WebSocket endpoint, one process only
    _inflow  _splitter             messages on their way to a peer
    _sink  _transport_sink         writing
    _peer                          the shell around a session
    _registry                      which connections there are, and whose
    _session                       the server's side of one connection, a machine without I/O
    _inbox  _grants  _watch        its parts: what waits, what was granted, silence and the end of an identity
    _answers _operations           what it says to the client, what it asks of the gate
    _presence  _leases             who is in which room; grants that end
    _hub                           channels, numbered messages, replay, without I/O
    _stream                        one life of a channel: its subscribers, what is on its way, its history
    _slow                          what a slow reader may do without
    _message                       messages with their numbers, many in a frame
    _packet                        frames on their way to many readers
    _protocol  _frames             frames to and from JSON, close codes
    _settings                      bounds
"""

from ._frames import CloseCode
from ._preset import NodePreset, preset
from ._settings import ConnectionLimits, HistoryLimits
from ._slow import DropOldest, LatestPerKey, SlowReader, message_key
from ._version import __version__

__all__ = [
    "CloseCode",
    "ConnectionLimits",
    "DropOldest",
    "HistoryLimits",
    "LatestPerKey",
    "NodePreset",
    "SlowReader",
    "__version__",
    "message_key",
    "preset",
]
