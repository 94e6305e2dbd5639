"""A virtual clock for asyncio tests: hours of back-off in milliseconds, and a hang that fails at once.

`VirtualClockLoop` is an event loop without sockets whose clock jumps to the next timer as soon as nothing is ready to
run. ``asyncio.sleep(3600)`` returns immediately, timers fire in order, and a test that waits for something that can
never happen raises `LoopStuckError` instead of hanging.

With pytest-asyncio, in a ``conftest.py``::

    from tanstack_db.testing import VirtualClockLoop

    def pytest_asyncio_loop_factories(config, item):
        return {"virtual": VirtualClockLoop}

`ManualSource` is a collection's source that a test drives by hand, and `ShapeServer` a shape log in memory.
"""

from ._clock import LoopStuckError, VirtualClockLoop, settle
from ._manual_source import ManualSource
from ._shape_server import ShapeServer

__all__ = ["LoopStuckError", "ManualSource", "ShapeServer", "VirtualClockLoop", "settle"]
