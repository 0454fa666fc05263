"""Why rows could not be read: the commonest reasons, and where each was seen first."""

from xlt_ray.data.schema import BadRow

_MOST, _SHOWN = 1000, 3


class Faults:
    """Counts the reasons of bad rows, of so many different ones at most."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, BadRow]] = {}

    def add(self, row: BadRow) -> None:
        """Another bad row."""
        count, first = self._found.get(row.reason, (0, row))
        if count or len(self._found) < _MOST:
            self._found[row.reason] = (count + 1, first)

    def starting(self, words: str) -> "Faults":
        """Those whose reason begins with some words."""
        found = Faults()
        found._found = {k: item for k, item in self._found.items() if k.startswith(words)}
        return found

    def __bool__(self) -> bool:
        return bool(self._found)

    def __str__(self) -> str:
        ranked = sorted(self._found.values(), key=lambda item: -item[0])[:_SHOWN]
        lines = [
            f"{n:,} x {row.reason} (first in {row.file}, line {row.line})" for n, row in ranked
        ]
        return "; ".join(lines) or "there is none"
