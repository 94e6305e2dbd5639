"""TanStack Realtime preset: an in-process WebSocket server, no other service.

Layers, top down; docs/protocol.md describes what crosses the wire::

    testing                        the preset on a simulated network
    _preset                        the preset object that the entry point names
    _websockets  _browser          whose WebSocket a client takes
    _client  _local                a client's transports: WebSocket, in process
    _link                          a client's side of one connection
    _server  _sink  _workers       the WebSocket endpoint, writing, one process only
    _peer                          the shell around a session
    _registry                      which connections there are, and whose
    _session                       the server's side of one connection, a machine without I/O
    _presence _operations          who is in which room; what a session asks of the gate
    _hub                           channels, numbered messages, replay, without I/O
    _slow                          what a slow reader may do without
    _packet                        frames on their way to many readers
    _protocol  _frames             frames to and from JSON, close codes
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
