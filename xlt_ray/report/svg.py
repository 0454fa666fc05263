"""Small pictures as inline SVG, whose horizontal positions are shares of the width they get."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

from markupsafe import Markup

ROW = 18
"""Height of a picture that stands in a row of a table, in pixels."""


def _svg(height: int, title: str, *parts: str) -> Markup:
    label = escape(title, quote=True)
    inside = "".join(parts)
    return Markup(
        f'<svg width="100%" height="{height}" role="img" aria-label="{label}">'
        f"<title>{label}</title>{inside}</svg>"
    )


def _share(value: float) -> str:
    return f"{100 * min(max(value, 0.0), 1.0):.2f}%"


def moved(before: float | None, after: float | None, low: float, high: float) -> Markup:
    """Two points on a line from low to high, and the way between them.

    Args:
        before: Where it was; None: nothing is shown of it.
        after: Where it is.
        low: Left end of the line.
        high: Its right end.
    """
    span, middle = max(high - low, 1e-9), ROW / 2
    # Points at the ends stay inside.
    at = {
        kind: 0.02 + 0.96 * (value - low) / span
        for kind, value in (("before", before), ("after", after))
        if value is not None
    }
    parts = [f'<line class="track" x1="0" x2="100%" y1="{middle}" y2="{middle}"/>']
    if len(at) == 2:
        kind = "up" if at["after"] >= at["before"] else "down"
        ends = f'x1="{_share(at["before"])}" x2="{_share(at["after"])}"'
        parts.append(f'<line class="way {kind}" {ends} y1="{middle}" y2="{middle}"/>')
    radius = {"before": 3.5, "after": 5}
    parts += [
        f'<circle class="{kind}" cx="{_share(x)}" cy="{middle}" r="{radius[kind]}"/>'
        for kind, x in at.items()
    ]
    shown = " to ".join(f"{100 * x:.2f}" for x in (before, after) if x is not None)
    return _svg(ROW, shown or "not scored", *parts)


def bar(value: float, most: float, title: str, kind: str = "bar") -> Markup:
    """A bar from the left."""
    width = _share(value / most if most else 0)
    return _svg(ROW, title, f'<rect class="{kind}" y="3" height="12" rx="2" width="{width}"/>')


def interval(mean: float | None, std: float | None, low: float, high: float) -> Markup:
    """A point with a line of one standard deviation to both sides."""
    if mean is None:
        return _svg(ROW, "not scored")
    span, middle = max(high - low, 1e-9), ROW / 2

    def place(value: float) -> str:
        return _share(0.02 + 0.96 * (value - low) / span)

    parts = [f'<line class="track" x1="0" x2="100%" y1="{middle}" y2="{middle}"/>']
    if std:
        ends = f'x1="{place(mean - std)}" x2="{place(mean + std)}"'
        parts.append(f'<line class="way up" {ends} y1="{middle}" y2="{middle}"/>')
    parts.append(f'<circle class="after" cx="{place(mean)}" cy="{middle}" r="5"/>')
    shown = f"{100 * mean:.2f}" + (f" ± {100 * std:.2f}" if std is not None else "")
    return _svg(ROW, shown, *parts)


def signed(value: float) -> str:
    """A difference of fractions times 100, with its sign."""
    return f"{100 * value:+.2f}".replace("-", "\N{MINUS SIGN}")


def stack(counts: Mapping[str, int], names: Sequence[str]) -> Markup:
    """The shares of some counts, side by side.

    Args:
        counts: The counts by name.
        names: All names in order; each has a colour.
    """
    total, at, parts = sum(counts.values()), 0.0, list[str]()
    for number, name in enumerate(names):
        width = counts.get(name, 0) / total if total else 0.0
        place = f'x="{_share(at)}" width="{_share(width)}"'
        parts.append(f'<rect class="part part{number % 6}" y="3" height="12" {place}/>')
        at += width
    title = ", ".join(f"{name}: {count}" for name, count in counts.items())
    return _svg(ROW, title, *parts)


def course(values: Sequence[float | None], names: Sequence[str], *, height: int = 130) -> Markup:
    """Values one after the other as a line, each with its name below and its number above.

    Args:
        values: Fractions, shown times 100; None leaves a gap.
        names: A name of each.
        height: In pixels.
    """
    known = [value for value in values if value is not None]
    if not known:
        return Markup("")
    low, high = min(known), max(known)
    span = (high - low) or 1.0
    top, bottom = 24, height - 26
    places: list[tuple[float, float] | None] = []
    for number, value in enumerate(values):
        x = 100 * (number + 0.5) / len(values)
        y = None if value is None else bottom - (bottom - top) * (value - low) / span
        places.append(None if y is None else (x, y))
    parts = [f'<line class="track" x1="0" x2="100%" y1="{bottom + 6}" y2="{bottom + 6}"/>']
    for before, after in pairwise(places):
        if before and after:
            ends = f'x1="{before[0]:.2f}%" y1="{before[1]:.1f}" x2="{after[0]:.2f}%"'
            parts.append(f'<line class="course" {ends} y2="{after[1]:.1f}"/>')
    for place, value, name in zip(places, values, names, strict=True):
        if place and value is not None:
            x, y = place
            parts.append(f'<circle class="after" cx="{x:.2f}%" cy="{y:.1f}" r="4"/>')
            parts.append(f'<text x="{x:.2f}%" y="{y - 9:.1f}">{100 * value:.1f}</text>')
            below = f'<text class="muted" x="{x:.2f}%" y="{height - 4}">{escape(name)}</text>'
            parts.append(below)
    numbered = zip(names, values, strict=True)
    told = [f"{name} {100 * value:.2f}" for name, value in numbered if value is not None]
    return _svg(height, ", ".join(told), *parts)


def span(start: float, end: float, title: str, kind: str) -> Markup:
    """A piece of a time line: from one share of its length to another."""
    width = max(end - start, 0.004)
    place = f'x="{_share(min(start, 1 - width))}" width="{_share(width)}"'
    track = f'<line class="track" x1="0" x2="100%" y1="{ROW / 2}" y2="{ROW / 2}"/>'
    return _svg(ROW, title, track, f'<rect class="{kind}" y="3" height="12" rx="2" {place}/>')
