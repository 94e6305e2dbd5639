"""Tests of realtime applications and of presets: a network, a clock and a server in one process, all from one seed.

Layers, each using only those below it::

    _sandbox            a server and its users, for the tests of an application
    _preset             the reference preset: `_hub` is its server half, `_link` its client half
    _asgi               an ASGI application on the network
    _network _socket    clients and servers connected in memory, with faults
    _loop               virtual time, and the order of tasks from a seed

Time is virtual as soon as the test's loop is `VirtualClockLoop` or `SeededLoop`. Nothing here imports pytest; the
fixtures come with the plugin, which pytest finds by itself. Needs the extra: ``pip install
"tanstack-realtime[server]"``.
"""

from tanstack_db.testing import LoopStuckError, ManualSource, VirtualClockLoop, settle

from ._asgi import AsgiApp, AsgiServer
from ._loop import SeededLoop
from ._network import Handler, MemoryNetwork
from ._preset import MEMORY_CAPABILITIES, MemoryPreset, MemoryTransport
from ._sandbox import NetworkPreset, RealtimeSandbox, allow_everything
from ._socket import Conditions, MemorySocket, SocketClosedError, is_message

__all__ = [
    "MEMORY_CAPABILITIES",
    "AsgiApp",
    "AsgiServer",
    "Conditions",
    "Handler",
    "LoopStuckError",
    "ManualSource",
    "MemoryNetwork",
    "MemoryPreset",
    "MemorySocket",
    "MemoryTransport",
    "NetworkPreset",
    "RealtimeSandbox",
    "SeededLoop",
    "SocketClosedError",
    "VirtualClockLoop",
    "allow_everything",
    "is_message",
    "settle",
]
