"""Tests of realtime applications and of presets: a network, a clock and a server in one process, all from one seed.

Layers, each using only those below it::

    _history            simulated users on a bad network, over a `_database`
    _broken             transports that the kit must catch
    _conformance        what a transport must do: the checks in `_checks_*`, run against a `_provider`
    _register           what a transport cannot break, and why
    _sandbox            a server and its users, for the tests of an application
    _preset             the reference preset: `_hub` is its server half with `_rooms`, `_link` its client half
    _asgi               an ASGI application on the network
    _network _socket    clients and servers connected in memory, with faults
    _proxy              the network's faults for real servers
    _recorder           a listener and a sink that write down what they hear
    _loop               virtual time, and the order of tasks from a seed

Time is virtual as soon as the test's loop is `VirtualClockLoop` or `SeededLoop`. Nothing here imports pytest; the
fixtures come with the plugin, which pytest finds by itself. Needs the extra: ``pip install
"tanstack-realtime[server]"``.
"""

from tanstack_db.testing import LoopStuckError, ManualSource, VirtualClockLoop, settle

from . import _broken_more as _broken_more  # broken transports and checks register themselves
from . import _checks_access as _checks_access
from . import _checks_connection as _checks_connection
from . import _checks_delivery as _checks_delivery
from . import _checks_presence as _checks_presence
from ._asgi import MOUNT, AsgiApp, AsgiServer
from ._broken import BROKEN_TRANSPORTS, BrokenLink, BrokenSink, BrokenTransport, broken
from ._broken_presence import BROKEN_PRESENCE, BrokenPresenceLink
from ._conformance import (
    CHECKS,
    Access,
    Check,
    CheckSkipped,
    Claim,
    ConformanceProvider,
    Fault,
    Kit,
    Outcome,
    check,
    must,
    run_check,
    run_conformance,
)
from ._history import HistoryError, HistorySummary, simulate
from ._loop import SeededLoop
from ._network import Handler, MemoryNetwork
from ._preset import MEMORY_CAPABILITIES, MemoryPreset, MemoryTransport
from ._provider import SimulatedProvider
from ._proxy import TcpProxy
from ._recorder import RecordingListener, RecordingSink
from ._register import NOT_OF_A_TRANSPORT
from ._sandbox import NetworkPreset, RealtimeSandbox, allow_everything
from ._socket import Conditions, MemorySocket, SocketClosedError, is_message

__all__ = [
    "BROKEN_PRESENCE",
    "BROKEN_TRANSPORTS",
    "CHECKS",
    "MEMORY_CAPABILITIES",
    "MOUNT",
    "NOT_OF_A_TRANSPORT",
    "Access",
    "AsgiApp",
    "AsgiServer",
    "BrokenLink",
    "BrokenPresenceLink",
    "BrokenSink",
    "BrokenTransport",
    "Check",
    "CheckSkipped",
    "Claim",
    "Conditions",
    "ConformanceProvider",
    "Fault",
    "Handler",
    "HistoryError",
    "HistorySummary",
    "Kit",
    "LoopStuckError",
    "ManualSource",
    "MemoryNetwork",
    "MemoryPreset",
    "MemorySocket",
    "MemoryTransport",
    "NetworkPreset",
    "Outcome",
    "RealtimeSandbox",
    "RecordingListener",
    "RecordingSink",
    "SeededLoop",
    "SimulatedProvider",
    "SocketClosedError",
    "TcpProxy",
    "VirtualClockLoop",
    "allow_everything",
    "broken",
    "check",
    "is_message",
    "must",
    "run_check",
    "run_conformance",
    "settle",
    "simulate",
]
