"""Tests of realtime applications and of presets: a network, a clock and a server in one process, all from one seed.

Layers, each using only those below it::

    _network _socket    clients and servers connected in memory, with faults
    _loop               virtual time, and the order of tasks from a seed

Time is virtual as soon as the test's loop is `VirtualClockLoop` or `SeededLoop`. Nothing here imports pytest; the
fixtures come with the plugin, which pytest finds by itself.
"""

from tanstack_db.testing import LoopStuckError, ManualSource, VirtualClockLoop, settle

from ._loop import SeededLoop
from ._network import Handler, MemoryNetwork
from ._socket import Conditions, MemorySocket, SocketClosedError, is_message

__all__ = [
    "Conditions",
    "Handler",
    "LoopStuckError",
    "ManualSource",
    "MemoryNetwork",
    "MemorySocket",
    "SeededLoop",
    "SocketClosedError",
    "VirtualClockLoop",
    "is_message",
    "settle",
]
