"""Tables for a terminal of any width in which no number and no name is cut.

Columns that do not fit stand in further tables below, each with the first columns again. What names
a row is broken into lines where it alone is too wide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

_BESIDE = 3
"""Blanks and a line that a column takes besides its cells."""
_NARROW = 12
"""Cells that a first column keeps at least."""


@dataclass(frozen=True)
class WideTable:
    """A table whose cells are text; rich makes of it what fits.

    Attributes:
        title: What stands above it, or nothing.
        columns: Column titles.
        rows: Cells.
        left: How many columns, from the first, are aligned to the left and stand in every part.
        last: A row below a line, in bold; None: there is none.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    last: Sequence[str] | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for number, (chosen, first) in enumerate(self.parts(options.max_width)):
            yield self._table(chosen, first, title=self.title if number == 0 else "")

    def widths(self) -> list[int]:
        """Cells that each column needs on one line; of a title the longest word."""
        rows = [*self.rows, *([self.last] if self.last is not None else [])]
        return [
            max([
                *(cell_len(row[column]) for row in rows),
                *(cell_len(word) for word in title.split() or [""]),
            ])
            for column, title in enumerate(self.columns)
        ]  # fmt: skip

    def parts(self, width: int) -> list[tuple[list[int], list[int]]]:
        """Columns of each part, and the widths of the first ones.

        Args:
            width: Cells of a line.
        """
        needed, heads = self.widths(), list(range(self.left))
        others = list(range(self.left, len(self.columns)))
        widest = max((needed[x] for x in others), default=0) + _BESIDE
        room = max(width - 1 - widest, len(heads) * (_NARROW + _BESIDE))
        first = [needed[x] for x in heads]
        while heads and sum(first) + _BESIDE * len(first) > room and max(first) > _NARROW:
            first[first.index(max(first))] -= 1
        taken = 1 + sum(first) + _BESIDE * len(first)
        parts, part, used = list[list[int]](), list[int](), taken
        for column in others:
            if part and used + needed[column] + _BESIDE > width:
                parts.append(part)
                part, used = [], taken
            part.append(column)
            used += needed[column] + _BESIDE
        return [([*heads, *columns], first) for columns in [*parts, part]]

    def _table(self, chosen: Sequence[int], first: Sequence[int], title: str) -> Table:
        shown = Text(title, style="table.title") if title else None
        table, needed = Table(title=shown, title_justify="left"), self.widths()
        for place, column in enumerate(chosen):
            is_head = place < self.left
            size = first[place] if is_head else needed[column]
            justify: Literal["left", "right"] = "left" if is_head else "right"
            table.add_column(
                Text(self.columns[column], overflow="fold"),
                justify=justify, overflow="fold", min_width=size, max_width=size,
            )  # fmt: skip
        for row in self.rows:
            table.add_row(*(Text(row[column], overflow="fold") for column in chosen))
        if self.last is not None:
            table.add_section()
            table.add_row(*(Text(self.last[column]) for column in chosen), style="bold")
        return table
