"""Errors of tanstack-realtime.

* RealtimeError                     channel, code, reason, retryable
  * ChannelError                    a channel that cannot be serialized or parsed
  * ConfigurationError              settings, presets, missing packages or environment variables
    * UnknownPresetError
    * PresetMismatchError           client and server name different presets
