"""How often a confident prediction is wrong, before a run and after: calibration on target text.

Counts and accuracy by band of confidence (Table 4 of the CoNLST paper), and the share of wrong
pseudo-labels by confidence (its Figures 3 and 4), for the rows and seeds of a comparison; and the
noise of what each iteration of self-training kept. Gold of the unlabelled text is read for this
page alone; nothing of it feeds back.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from xlt_ray.commands.cli import Job
from xlt_ray.commands.compare import CompareConfig, configure, keys
from xlt_ray.commands.compare import dry_run as dry_run_of_runs
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.benchmarks.registry import benchmark_of
from xlt_ray.data.keyed import items_of, positions
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.shared.softmax import Probabilities
from xlt_ray.oracle.figures.calibration import BINS, figure, markdown
from xlt_ray.oracle.findings import publish
from xlt_ray.oracle.judge import Judge
from xlt_ray.oracle.measures import EVERY
from xlt_ray.report.figures import require_matplotlib
from xlt_ray.run.gold_steps import read_gold
from xlt_ray.run.session import Done, carry_out, connected
from xlt_ray.store.artifacts import Artifact, Store
from xlt_ray.store.lease import Lease
from xlt_ray.store.run_folder import RunFolder


def confidence_bins(
    said: Artifact, gold: Artifact, *, bins: int
) -> tuple[pa.Table, dict[str, Any]]:
    """Texts and right pseudo-labels by confidence.

    Args:
        said: Class probabilities ``q`` and ``labels`` of texts, one class each.
        gold: Gold labels of these and other texts; a text without one is left out.
        bins: Number of equal bins of the largest probability, from 0 to 1; a bin has its lower
            edge, and the last one both.

    Returns:
        By bin ``texts`` and ``right``; no facts.
    """
    table, truth = said.table(["id", "labels", "q"]), gold.table(["id", "labels"])
    at = positions(table, truth)  # a row whose label is bad has text and no gold
    table, at = table.filter(at.is_valid()), at.drop_null()
    true_N = items_of(truth["labels"].take(at))[0]
    known = pa.array(true_N != UNLABELLED)
    table, true_N = table.filter(known), true_N[np.asarray(known)]
    said_N = items_of(table["labels"])[0]
    classes = len(table["q"][0]) if len(table) else 1
    best_N = items_of(table["q"])[0].reshape(-1, classes).max(axis=1)
    # A hair up: an edge such as 0.9 is a little more than its bin number times the width.
    bin_N = np.minimum((best_N * bins + 1e-9).astype(np.int64), bins - 1)
    texts = np.bincount(bin_N, minlength=bins)
    right = np.bincount(bin_N, weights=said_N == true_N, minlength=bins).astype(np.int64)
    return pa.table({"texts": texts, "right": right}), {}


def find(config: CompareConfig) -> dict[str, Any]:
    """Carry out every run, count what it says before and after, write page and figure.

    Raises:
        ConfigError: matplotlib is missing, or the task is one of words; nothing has run.
        LeaseHeldError: another driver is at work on these findings or on one of the runs.
    """
    _check(config)
    folder = RunFolder(Store(config.first.store.root), config.name)
    with Lease(folder.store, folder.path) as lease:
        folder.write_json("config.json", config.to_dict())
        records, kept = _count(config)
        findings = {
            "name": config.name,
            "benchmark": config.first.benchmark.name,
            "split": config.first.benchmark.unlabelled_splits,
            "seeds": list(config.section.seeds),
            "bins": BINS,
            "records": records,
            "kept": kept,
        }
        lease.check()
        pictures = {"figure-calibration": figure(findings)}
        publish(folder, "calibration", findings, markdown(findings), pictures)
        return findings


def _count(config: CompareConfig) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Texts by confidence before and after every run, and what its iterations kept."""
    records, kept = list[dict[str, Any]](), list[dict[str, Any]]()
    with connected(config.first):
        for title, seed in config.announced():
            with carry_out(config.rows[title][seed], first=read_gold) as done:
                for target in done.driver.pools:
                    place = {"row": title, "seed": seed, "target": target}
                    records += _by_confidence(done, place)
                    kept += _kept(done, place)
    return records, kept


def _by_confidence(done: Done, place: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    driver, oracle, outcome, target = done.driver, done.oracle, done.outcome, place["target"]
    models = {
        "before": outcome.zero_shot_by_language.get(target, outcome.zero_shot),
        "after": outcome.by_language.get(target, outcome.final),
    }
    for when, model in models.items():
        name, text = f"{target} {when}", driver.unlabelled().of(target)
        said = driver.annotate(name, text, model, Probabilities())
        found = oracle.derive(
            f"{name} calibration", confidence_bins, said, oracle.gold, bins=BINS
        ).table()
        yield {**place, "when": when, **found.to_pydict()}


def _kept(done: Done, place: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    outcome, target = done.outcome, place["target"]
    for item in outcome.rounds_by_language.get(target, outcome.rounds):
        counts = Judge(done.oracle).accuracy(f"{target} iteration {item.number}", item.picked)
        own = [x for x in counts if (x["language"], x["part"]) == (target, EVERY)]
        texts = done.driver.unlabelled().tokens.info["rows_by_language"][target]
        numbers = {"texts": texts, "kept": sum(x["items"] for x in own)}
        yield {**place, "round": item.number, **numbers, "right": sum(x["right"] for x in own)}


def _check(config: CompareConfig) -> None:
    require_matplotlib()
    task = benchmark_of(config.first).task
    if task == "token":
        raise ConfigError("benchmark.name: calibration is that of texts, and this is a token task")


def dry_run(config: CompareConfig) -> int:
    """The dry run of the runs; raises ConfigError if the figure could not be drawn."""
    _check(config)
    return dry_run_of_runs(config, first=read_gold)


JOB = Job(configure, find, dry_run, keys)
"""What ``jobs/oracle_calibration.py`` does with its flags."""
