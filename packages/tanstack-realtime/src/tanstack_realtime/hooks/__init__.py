"""Realtime hooks for component frameworks, written once over `tanstack_db.hooks.Runtime`.

`tanstack_realtime.react`, `tanstack_realtime.solara` and `tanstack_realtime.flet` bind them.

============== ==================================================================================
``_hooks``     `RealtimeHooks`: ``use_realtime``, ``use_presence``, ``use_publish``, ``use_subscribe``
``_presence``  what a component sees of a room
``_provider``  `use_realtime_session`: a connection per mounted provider
============== ==================================================================================
"""

from ._hooks import OnEvent, Publish, RealtimeHooks
from ._presence import PresenceHandle
from ._provider import use_realtime_session

__all__ = ["OnEvent", "PresenceHandle", "Publish", "RealtimeHooks", "use_realtime_session"]
