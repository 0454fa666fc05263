"""`make bench`: the comparisons, one after the other, in bench.json and bench.md.

Without data of the user's own everything is measured on the embedded benchmark; with WikiANN in a
folder per language and an encoder on those.

    python -m benchmarks.run [--wikiann FOLDER --backbone FOLDER] [--rows 2000] [--repeats 5]
        [--only inference,training] [--out bench]
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.growth import growth
from benchmarks.inference import steady, with_start
from benchmarks.measure import REPEATS, Comparison, machine, table, title
from benchmarks.pieces import pieces
from benchmarks.rounds import rounds
from benchmarks.setting import EMBEDDED, Data, Setting, begun, small_backbone
from benchmarks.spans import measure as spans
from benchmarks.starts import starts
from benchmarks.training import training
from benchmarks.whole import whole

Result = tuple[Any, str]
"""What goes into bench.json, and what into bench.md."""


@dataclass(frozen=True)
class Asked:
    """What is measured.

    Attributes:
        data: What is read.
        rows: Sentences of each language at most.
        repeats: Turns of each contender.
        sizes: Sizes of the corpora that grow.
        peak_flops: Rate of a large matrix product.
    """

    data: Data
    rows: int
    repeats: int
    sizes: tuple[int, ...]
    peak_flops: float

    def shown(self, *found: Comparison) -> Result:
        """Comparisons as a result."""
        return [x.to_json() for x in found], "\n".join(table(x, self.peak_flops) for x in found)

    def of_setting(self, *measures: Callable[[Setting], Comparison]) -> Result:
        """Comparisons within a run of their own, one thread each."""
        torch.set_num_threads(1)
        sizes = {"train": self.rows, "dev": 500, "test": 500}
        with begun(self.data, sizes) as setting:
            return self.shown(*(measure(setting) for measure in measures))


PARTS: Mapping[str, Callable[[Asked], Result]] = {
    "inference": lambda x: x.of_setting(lambda s: steady(s, repeats=x.repeats)),
    "start": lambda x: x.of_setting(lambda s: with_start(s, repeats=x.repeats)),
    "training": lambda x: x.of_setting(lambda s: training(s, repeats=x.repeats)),
    "closest": lambda x: x.of_setting(
        lambda s: steady(s, repeats=TURNS * x.repeats, closest=True),
        lambda s: training(s, repeats=TURNS * x.repeats, closest=True),
    ),
    "whole": lambda x: x.shown(whole(x.data, large=False, repeats=x.repeats)),
    "tenfold": lambda x: x.shown(whole(x.data, large=True, repeats=x.repeats)),
    "pieces": lambda x: x.shown(*pieces(repeats=x.repeats)),
    "spans": lambda x: spans(1_000_000, x.data.backbone, repeats=x.repeats),
    "growth": lambda x: growth(x.sizes, (1, 2)),
    "rounds": lambda x: rounds(x.repeats),
    "starts": lambda x: starts(x.repeats, gigabytes=1.0),
}
LONG = ("closest", "tenfold")
"""Parts that have to be asked for: many turns of few contenders, and what takes longest."""
TURNS = 3
"""How many times as many turns the closest contenders take."""


def main() -> None:
    """Measure what is asked for, and write both files after each part."""
    parser = argparse.ArgumentParser(description=title(__doc__))
    parser.add_argument("--wikiann", help="folder of a folder per language")
    parser.add_argument("--backbone", help="folder of an encoder")
    parser.add_argument("--targets", default="de", help="languages of WikiANN that are annotated")
    parser.add_argument("--rows", type=int, default=2000, help="sentences of each at most")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--growth", default="10000,100000", help="sizes of corpora that grow")
    shown = ",".join(name for name in PARTS if name not in LONG)
    parser.add_argument("--only", default=shown, help=f"parts; there are: {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, default=Path("bench"))
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"--only: no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    if options.wikiann and not options.backbone:
        parser.error("--wikiann: --backbone is needed, too, an encoder that knows its languages")
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    place, found, pages = machine(), dict[str, Any](), list[str]()
    head = f"# Benchmarks\n\n{place['cpu']}, {place['cores']} cores, one thread each; torch "
    head += f"{place['torch']}; peak of a matrix product {place['peak_gflops']} GFLOPS.\n"
    sizes = tuple(int(size) for size in options.growth.split(","))
    with TemporaryDirectory() as folder:
        data = Data(None, options.backbone or small_backbone(Path(folder)), EMBEDDED.targets)
        if options.wikiann:
            data = Data(options.wikiann, options.backbone, tuple(options.targets.split(",")))
        peak_flops = place["peak_gflops"]["fp32"] * 1e9
        asked = Asked(data, options.rows, options.repeats, sizes, peak_flops)
        for name in names:
            found[name], page = PARTS[name](asked)
            pages.append(page)
            content = {"machine": place, "parts": found}
            (options.out / "bench.json").write_text(json.dumps(content, indent=1) + "\n")
            (options.out / "bench.md").write_text("\n".join([head, *pages]))
            print(page, flush=True)


if __name__ == "__main__":
    main()
