"""What a mouse or a key means on the canvas, in fractions of its size: windows have different ones."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

__all__ = ["SCRIPT", "Point", "moved_by_key", "pointed_at"]

Point: TypeAlias = tuple[float, float]

_STEP: Final = 0.02
_KEYS: Final = {
    "ArrowLeft": (-_STEP, 0.0),
    "ArrowRight": (_STEP, 0.0),
    "ArrowUp": (0.0, -_STEP),
    "ArrowDown": (0.0, _STEP),
}

# A browser's own pointer event is 32 kB as JSON, comes hundreds of times per second, and does not say how large the
# canvas is. So the page makes an event of its own: a point, at most 20 times per second, and always the last one.
SCRIPT: Final = """
(() => {
  let sent = 0, timer = null;
  const tell = (canvas, point) => {
    clearTimeout(timer);
    timer = null;
    sent = performance.now();
    const nothing = { target: null, currentTarget: null, srcElement: null };
    canvas.dispatchEvent(Object.defineProperties(new CustomEvent("Point"), Object.fromEntries(
      Object.entries({ ...nothing, ...point }).map(([name, value]) => [name, { value, enumerable: true }])
    )));
  };
  const listen = (name, pick, isUrgent) => window.addEventListener(name, (event) => {
    const canvas = event.target.closest?.(".canvas");
    if (!canvas || (name === "pointerout" && event.relatedTarget?.closest?.(".canvas"))) return;
    const box = canvas.getBoundingClientRect();
    const point = pick((event.clientX - box.x) / box.width, (event.clientY - box.y) / box.height);
    const wait = sent + 50 - performance.now();
    if (isUrgent || wait <= 0) return tell(canvas, point);
    clearTimeout(timer);
    timer = setTimeout(tell, wait, canvas, point);
  }, true);
  listen("pointermove", (x, y) => ({ x, y }), false);
  listen("pointerdown", (x, y) => ({ x, y, down: true }), true);
  listen("pointerout", () => ({}), true);
})();
"""


def pointed_at(event: dict[str, Any]) -> Point | None:
    """Return where the pointer is, or None where it has left."""
    x, y = event.get("x"), event.get("y")
    return None if x is None or y is None else (_inside(x), _inside(y))


def moved_by_key(key: str, at: Point | None) -> Point | None:
    """Return where an arrow key moves the cursor, from the middle at first; None for another key."""
    step = _KEYS.get(key)
    if step is None:
        return None
    x, y = at or (0.5, 0.5)
    return (_inside(x + step[0]), _inside(y + step[1]))


def _inside(value: float) -> float:
    return round(min(max(float(value), 0.0), 1.0), 4)
