"""Figures of claims from the files of analyses: prior shift, calibration, spans, labels.

A file has records: one per run, target, subset or epoch. Those of a seed that agree on the keys of
`Records.pair` are an item. Intervals draw items and seeds with replacement, alike on both sides.

Shapes: R seeds, P items, B draws; 4 sums: values, what they are a share of, `Records.by`, records.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.claims.measured import Figure, Setting
from benchmarks.claims.schema import Claim, Records
from xlt_ray.report.significance import DRAWS, Floats, interval, rank_correlation

SEED = re.compile(r"-s(\d+)$")
"""Ending of the name of a run's folder."""
Item = tuple[Any, ...]
Sums = dict[int, dict[Item, NDArray[np.float64]]]
"""The four sums by seed and item."""


def figure_of(test: Records, folders: Sequence[Path]) -> Figure | None:
    """The figure of a claim; None where there is no such file or no such record."""
    named, taken = Sums(), Sums()
    for path in _files(test, folders):
        found = list(_records(test, path))
        _add(named, test, _chosen(found, test.where, test.without), path)
        if test.against is not None:
            where = {**test.where, **test.against}
            _add(taken, test, _chosen(found, where, test.without), path)
    sides = [named] if test.against is None else [named, taken]
    seeds = sorted(set.intersection(*(set(side) for side in sides)))
    if not seeds:
        return None
    common = set.intersection(*(set(side[seed]) for side in sides for seed in seeds))
    items = sorted(common, key=repr)
    if not items:
        return None
    sums = [np.array([[side[seed][item] for item in items] for seed in seeds]) for side in sides]
    unit = "points" if test.by is None else "correlation"
    whole = float(_statistic(test, [x[None] for x in sums])[0])
    ends = None
    if len(seeds) * len(items) > 1:
        rng = np.random.default_rng(0)
        seeds_BR = rng.integers(0, len(seeds), (DRAWS, len(seeds)))
        items_BP = rng.integers(0, len(items), (DRAWS, len(items)))
        drawn = [x[seeds_BR[:, :, None], items_BP[:, None, :]] for x in sums]
        ends = interval(_statistic(test, drawn))
    return Figure(whole, ends, seeds, test.bound, test.claimed, unit)


def _statistic(test: Records, sides: Sequence[Floats]) -> Floats:
    """[B] the figure of sums [B, R, P, 4] of one or both sides."""
    if test.by is not None:
        sums = sides[0].reshape(len(sides[0]), -1, 4)
        by = _share(sums[..., 2], sums[..., 3])
        return rank_correlation(by, _share(sums[..., 0], sums[..., 1]))
    shares = [_share(x[..., 0].sum(axis=(1, 2)), x[..., 1].sum(axis=(1, 2))) for x in sides]
    return shares[0] - shares[1] if len(shares) > 1 else shares[0]


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _files(test: Records, folders: Sequence[Path]) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.glob(test.files))]


def _records(test: Records, path: Path) -> Iterator[Mapping[str, Any]]:
    """The records of a file, with the outer keys of inner ones."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for record in content if test.at is None else content[test.at]:
        if test.inner is None:
            yield record
        else:
            yield from ({**record, **item} for item in record[test.inner])


def _chosen(
    found: Sequence[Mapping[str, Any]], where: Mapping[str, Any], without: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """The records that have some values, and do not have others."""
    ends = {"first": min, "last": max}
    asked = dict(where)
    for key, value in where.items():
        known = [record[key] for record in found if key in record]
        if value in ends and known:
            asked[key] = ends[value](known)
    return [
        record
        for record in found
        if all(key in record and record[key] == value for key, value in asked.items())
        and not any(record.get(key) == value for key, value in without.items())
    ]


def _add(sums: Sums, test: Records, found: Sequence[Mapping[str, Any]], path: Path) -> None:
    for record in found:
        item = tuple(record.get(key) for key in test.pair)
        own = sums.setdefault(_seed(record, path), defaultdict(lambda: np.zeros(4)))
        value = _number(record[test.value], test)
        if test.minus is not None:
            value -= _number(record[test.minus], test)
        whole = 1.0 if test.over is None else _number(record[test.over], test)
        own[item] += [value, whole, 0.0 if test.by is None else float(record[test.by]), 1.0]


def _number(value: Any, test: Records) -> float:
    if not isinstance(value, list):
        return float(value)
    first, after = test.bins or (0, len(value))
    return float(sum(value[first:after]))


def _seed(record: Mapping[str, Any], path: Path) -> int:
    """The record's seed, or that of the run in whose folder it lies."""
    if "seed" in record:
        return int(record["seed"])
    named = SEED.search(path.parent.name)
    return int(named[1]) if named else 0


def setting_of(claim: Claim, folders: Sequence[Path]) -> Setting:
    """What an analysis without a comparison of its own was measured with: its configuration."""
    assert isinstance(claim.test, Records)
    seeds, config = set[int](), dict[str, Any]()
    for path in _files(claim.test, folders):
        seeds |= {_seed(record, path) for record in _records(claim.test, path)}
        beside = path.parent / "config.json"
        config = config or (json.loads(beside.read_text("utf-8")) if beside.is_file() else {})
    benchmark = config.get("benchmark", {})
    rows = benchmark.get("max_rows") or {}
    return Setting(
        benchmark=benchmark.get("name", "unknown"),
        backbone=Path(str(config.get("backbone", "unknown"))).name,
        targets=benchmark.get("targets", []),
        seeds=sorted(seeds),
        max_rows=rows if isinstance(rows, dict) else {"every split": rows},
        commits=[],
    )
