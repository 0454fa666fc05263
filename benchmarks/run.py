"""The comparisons, one after the other, in one JSON file and one page.

python -m benchmarks.run --wikiann FOLDER --backbone FOLDER [--rows 2000] [--repeats 5]
    [--only inference,start,training] [--out FOLDER]
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from benchmarks.inference import steady, with_start
from benchmarks.measure import REPEATS, Comparison, machine, table
from benchmarks.setting import Setting, begun
from benchmarks.training import training

BUDGET = 4096

PARTS: Mapping[str, Callable[[Setting, int], Comparison]] = {
    "inference": lambda setting, repeats: steady(setting, budget=BUDGET, repeats=repeats),
    "start": lambda setting, repeats: with_start(setting, budget=BUDGET, repeats=repeats),
    "training": lambda setting, repeats: training(setting, repeats=repeats),
}


def main() -> None:
    """Measure what is asked for, and write both files after each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wikiann", required=True, help="folder of a folder per language")
    parser.add_argument("--backbone", required=True, help="folder of an encoder")
    parser.add_argument("--targets", default="de", help="languages whose text is annotated")
    parser.add_argument("--rows", type=int, default=2000, help="sentences of each at most")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, comma separated")
    parser.add_argument("--out", type=Path, default=Path("bench"))
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"--only: no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    place, found = machine(), dict[str, Comparison]()
    peak_flops = place["peak_gflops"]["fp32"] * 1e9
    head = f"# Benchmarks\n\n{place['cpu']}, {place['cores']} cores, one thread each; torch "
    head += f"{place['torch']}; peak of a matrix product {place['peak_gflops']} GFLOPS.\n"
    with begun(options.wikiann, options.backbone, targets=options.targets, rows=options.rows) as s:
        for name in names:
            found[name] = PARTS[name](s, options.repeats)
            content = {"machine": place, "parts": {k: x.to_json() for k, x in found.items()}}
            (options.out / "bench.json").write_text(json.dumps(content, indent=1) + "\n")
            page = "\n".join([head, *(table(x, peak_flops) for x in found.values())])
            (options.out / "bench.md").write_text(page)
            print(table(found[name], peak_flops), flush=True)


if __name__ == "__main__":
    main()
