"""Pictures of matrices: shares of what is said by what is true."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xlt_ray.report.figures import Pictures, new_figure, pictures_of

_WRITTEN = 12
"""Classes up to which the shares are written into their cells."""


@dataclass(frozen=True)
class Matrix:
    """A matrix whose columns sum to 1.

    Attributes:
        title: Its title.
        names: Names of the classes, of rows and columns alike.
        shares: [K, K]; columns of NaN are not known and stay empty.
    """

    title: str
    names: Sequence[str]
    shares: np.ndarray


def matrix_figure(lines: Sequence[Sequence[Matrix]], *, heading: str, note: str) -> Pictures:
    """Matrices side by side, dark where shares are large.

    Args:
        lines: Matrices from the top, from the left; at least one, and as many in every line.
        heading: Title of the figure.
        note: A sentence below that.
    """
    columns, most = len(lines[0]), max(len(panel.names) for line in lines for panel in line)
    side = 1.6 + 0.3 * most
    with new_figure(side * columns, side * len(lines) + 0.8, heading, note) as figure:
        axes = figure.subplots(len(lines), columns, squeeze=False)
        for line, row in zip(lines, axes, strict=True):
            for panel, own in zip(line, row, strict=True):
                own.imshow(panel.shares, cmap="Blues", vmin=0.0, vmax=1.0)
                places = range(len(panel.names))
                own.set_xticks(places, panel.names, rotation=90)
                own.set_yticks(places, panel.names)
                own.grid(visible=False)
                own.set(title=panel.title, xlabel="true", ylabel="said")
                for i, j in np.argwhere(panel.shares >= 0.005) if most <= _WRITTEN else ():
                    share = panel.shares[i, j]
                    text = f"{share:.2f}".removeprefix("0")
                    own.text(j, i, text, ha="center", va="center", fontsize=6,
                             color="white" if share > 0.5 else "black")  # fmt: skip
        return pictures_of(figure)
