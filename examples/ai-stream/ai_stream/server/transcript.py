"""What was said in each session, in memory: it ends with the process, like the demonstration."""

from __future__ import annotations

from dataclasses import replace

from ..schemas import Turn

__all__ = ["Transcript"]


class Transcript:
    """The turns of all sessions.

    A part is written down before it is published. So a window that subscribes first and reads then never misses one,
    and the numbers of the parts tell it which ones it has twice.
    """

    def __init__(self) -> None:
        self._turns: dict[str, list[Turn]] = {}

    def of(self, session_id: str) -> list[Turn]:
        """Return the turns of a session, oldest first."""
        return list(self._turns.get(session_id, ()))

    def is_busy(self, session_id: str) -> bool:
        """Tell whether an answer is under way."""
        return any(turn.status == "streaming" for turn in self.of(session_id))

    def ask(self, session_id: str, text: str) -> tuple[Turn, Turn]:
        """Write down a question. Returns it and the answer, which is empty so far."""
        turns = self._turns.setdefault(session_id, [])
        question = Turn(f"{len(turns):04}-question", session_id, text, "done", 1)
        answer = Turn(f"{len(turns) + 1:04}-answer", session_id, "", "streaming", 0)
        turns += [question, answer]
        return question, answer

    def grow(self, answer: Turn, token: str) -> Turn:
        """Add a part to an answer."""
        return self._put(replace(answer, text=answer.text + token, parts=answer.parts + 1))

    def end(self, answer: Turn, *, failed: bool) -> Turn:
        """Write down that nothing follows."""
        return self._put(replace(answer, status="failed" if failed else "done"))

    def _put(self, turn: Turn) -> Turn:
        turns = self._turns[turn.session_id]
        turns[next(place for place, known in enumerate(turns) if known.id == turn.id)] = turn
        return turn
