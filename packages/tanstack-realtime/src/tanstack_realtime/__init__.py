"""Live collections, live channels and presence for tanstack-db, over a swappable provider.

Layers, each using only those below it:

==================================  ====================================================================================
``react``, ``solara``, ``flet``     hooks and providers; ``hooks`` has them once, over `tanstack_db.hooks.Runtime`
``nicegui``, ``textual``            pages and widgets with a connection; ``_lifecycle``: the user is back; ``_sessions``
``_cli``                            the command ``tanstack-realtime``
``_create``, ``_client``            `create_realtime_client`, `RealtimeClient`; ``_slot`` lets collections find it
``_presence_channel``               who is here: `Presence`, `create_presence_channel`; ``_presence_hub`` is its shell
``_collection``, ``_live``          the collections; ``_scoped``: what they share; ``_text_stream``: texts that grow
``_options``, ``_parameters``       how a realtime collection is declared; ``_codec``: its rows on the wire
``_settlement``, ``_outcome``       from what a server function returned to what is shown, and told by ``_publisher``
``_feed``, ``_scope``, ``_replica`` rows of collections: when to fetch, what to merge; ``_outbox``, ``_echo``: writes
``_live_feed``, ``_live_log``       likewise for live channels; ``_scopes``: the shell that both feeds share
``_publishing``, ``_state_store``   how a client's messages get out; what it shows of itself
``_driver``, ``_subscriptions``     the shells: tasks, timers, listeners; ``_supervisor`` owns the tasks;
                                    ``_subscription`` is what an application holds
``_connection``, ``_channels``      the machines: events in, actions out, no I/O and no clock; so are ``_presence``,
                                    ``_throttle``
``_presets``, ``_settings``         what carries the messages, and who says so; ``_http`` and ``_endpoint`` for requests
``_page``                           the browser page that a client runs in
``_observe``, ``_statistics``       what an observer hears, and counters; ``opentelemetry``: traces and metrics
``_transport``, ``_presence_link``  the seams that a preset's client half implements
``_keys``, ``_envelope``, ``_json`` names of channels, messages, and what crosses the wire
``_errors``                         one tree
==================================  ====================================================================================

The server half is `tanstack_realtime.server` and is imported by nothing here.
"""

from ._client import GetToken, RealtimeClient
from ._collection import RealtimeCollection
from ._connection import Timing
from ._connection_events import StatusName
from ._create import create_realtime_client
from ._errors import (
    AuthenticationError,
    ChannelDeniedError,
    ChannelError,
    ClosedError,
    ConfigurationError,
    ConnectionLostError,
    MessageError,
    NotConnectedError,
    PresetMismatchError,
    PublishError,
    RealtimeError,
    UnknownPresetError,
)
from ._feed import FeedStatistics
from ._http import Http, HttpResponse
from ._keys import MAX_CHANNEL_LENGTH, Channel, ChannelLike, ChannelParam, parse_channel, serialize_key
from ._lifecycle import Lifecycle, LifecycleEvent, LifecycleSource
from ._live import LiveChannelCollection, live_channel_options
from ._live_events import EventFold, Fold, LiveEvent, LiveGap, Remove
from ._live_feed import LiveStatistics, LiveStatus
from ._mutation_ref import mutation_ref
from ._observe import Observer
from ._options import Fetched, realtime_collection_options
from ._presence import PresenceStatus
from ._presence_channel import (
    Member,
    MemberStatus,
    Presence,
    PresenceChannel,
    PresenceScope,
    PresenceView,
    create_presence_channel,
)
from ._presence_link import PresenceCapabilities, PresenceEntry, PresenceLink, PresenceSink
from ._presets import PRESET_API, ClientContext, Preset, installed_presets, load_preset
from ._scoped import CollectionScope, ScopedCollection
from ._scopes import ScopeStatus
from ._settings import EnvVar, Settings, read_environment, resolve_preset, resolve_settings
from ._slot import ClientSlot, client_slot
from ._state import PresenceInfo, RealtimeState, SubscriptionInfo
from ._statistics import ConnectionStatistics, SubscriptionStatistics
from ._subscription import Listener, Subscription, SubscriptionState
from ._text_stream import TextPart, TextState, TextStatus, read_text_part, text_stream
from ._transport import (
    JSON,
    Capabilities,
    CloseReason,
    EagerLink,
    Inbound,
    Link,
    LinkSink,
    OpenRequest,
    Position,
    RealtimeTransport,
    SubscribeAck,
)
from ._version import __version__

__all__ = [
    "JSON",
    "MAX_CHANNEL_LENGTH",
    "PRESET_API",
    "AuthenticationError",
    "Capabilities",
    "Channel",
    "ChannelDeniedError",
    "ChannelError",
    "ChannelLike",
    "ChannelParam",
    "ClientContext",
    "ClientSlot",
    "CloseReason",
    "ClosedError",
    "CollectionScope",
    "ConfigurationError",
    "ConnectionLostError",
    "ConnectionStatistics",
    "EagerLink",
    "EnvVar",
    "EventFold",
    "FeedStatistics",
    "Fetched",
    "Fold",
    "GetToken",
    "Http",
    "HttpResponse",
    "Inbound",
    "Lifecycle",
    "LifecycleEvent",
    "LifecycleSource",
    "Link",
    "LinkSink",
    "Listener",
    "LiveChannelCollection",
    "LiveEvent",
    "LiveGap",
    "LiveStatistics",
    "LiveStatus",
    "Member",
    "MemberStatus",
    "MessageError",
    "NotConnectedError",
    "Observer",
    "OpenRequest",
    "Position",
    "Presence",
    "PresenceCapabilities",
    "PresenceChannel",
    "PresenceEntry",
    "PresenceInfo",
    "PresenceLink",
    "PresenceScope",
    "PresenceSink",
    "PresenceStatus",
    "PresenceView",
    "Preset",
    "PresetMismatchError",
    "PublishError",
    "RealtimeClient",
    "RealtimeCollection",
    "RealtimeError",
    "RealtimeState",
    "RealtimeTransport",
    "Remove",
    "ScopeStatus",
    "ScopedCollection",
    "Settings",
    "StatusName",
    "SubscribeAck",
    "Subscription",
    "SubscriptionInfo",
    "SubscriptionState",
    "SubscriptionStatistics",
    "TextPart",
    "TextState",
    "TextStatus",
    "Timing",
    "UnknownPresetError",
    "__version__",
    "client_slot",
    "create_presence_channel",
    "create_realtime_client",
    "installed_presets",
    "live_channel_options",
    "load_preset",
    "mutation_ref",
    "parse_channel",
    "read_environment",
    "read_text_part",
    "realtime_collection_options",
    "resolve_preset",
    "resolve_settings",
    "serialize_key",
    "text_stream",
]
