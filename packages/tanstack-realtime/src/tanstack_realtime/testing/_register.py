"""The cases of the register that no check of the kit holds, each with the reason.

The register is a numbered list of what systems of this kind got wrong. Together with `Check.holds` this covers all of
it: a case is checked, or it says here why a transport cannot break it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["NOT_OF_A_TRANSPORT"]

_CLIENT: Final = "the client does this above every transport"
_COLLECTION: Final = "collections do this above every transport; the simulated histories run them over it"
_SERVER: Final = "the gate does this in front of every preset"
_LIVE: Final = "live channels do this above every transport"

NOT_OF_A_TRANSPORT: Final[Mapping[str, str]] = {
    "C6": "the client asks the token provider and gives a transport the token",
    "C8": _CLIENT,
    "C16": "providers of user interfaces call connect(), which cannot fail later",
    "C17": _CLIENT,
    "C18": _CLIENT,
    "S22": _COLLECTION,
    "S23": _COLLECTION,
    "A3": "one provider's proxy protocol; its preset tests it",
    "A4": _SERVER,
    "A12": "a transport names the connection by itself, so there is nothing to forge from a client",
    "A14": "presets that sign something test their signatures",
    "A15": "where a token travels shows in a preset's own handshake tests",
    "A16": "tokens that expire are a preset's own; those that have them test them",
    "V4": "a server's own bookkeeping; R4 checks what others see of it",
    "V8": "hooks of the application, which the gate guards",
    "R12": "the client turns snapshots into differences above every transport",
    **dict.fromkeys(("Q1", "Q3", "Q4", "Q5", "Q6", "Q7", "Q9", "Q10", "Q11", "Q12", "Q13"), _COLLECTION),
    **dict.fromkeys(("Q14", "Q15", "Q18", "Q19", "Q20", "Q21", "Q22"), _COLLECTION),
    **dict.fromkeys(("G2", "G3", "G4", "G6", "G7", "G9", "G10", "G11"), _COLLECTION),
    "G12": _LIVE,
    **dict.fromkeys(("L1", "L2", "L4", "L5", "L6", "O7"), _LIVE),
    "K3": "channels are written in one place, before a transport sees them",
    "K4": "channels are checked in one place, before a transport sees them",
    "T1": "presence throttles above every transport",
    "X10": "a property of the kit: its broken transports are tested with it",
}
"""Reason by id."""
