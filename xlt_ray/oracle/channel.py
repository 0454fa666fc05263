"""LVM where the truth is known: sources that are the gold labels, made wrong by given matrices.

Every row of a comparison learns the unlabelled text from the same made-up sources, which see its
gold labels through a noisy channel: independently for each word, a label is drawn from the column
of the true one. So it is known what LVM has to find, and its assumption holds. This trains on gold
of target languages: it is a test of the machinery, and its scores are those of no transfer.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from xlt_ray.commands.cli import Job
from xlt_ray.commands.compare import CompareConfig, keys
from xlt_ray.commands.compare import configure as configure_rows
from xlt_ray.commands.compare import dry_run as dry_run_of_runs
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import RunConfig
from xlt_ray.data.batches.planning import seed_of
from xlt_ray.data.benchmarks.registry import benchmark_of
from xlt_ray.data.keyed import items_of, sorted_by_id
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods import METHODS
from xlt_ray.methods.lvm.recipe import LVM
from xlt_ray.methods.shared.multi_source import MultiSource
from xlt_ray.methods.shared.sources import Sources
from xlt_ray.oracle.confusions import distance, learnt_matrices
from xlt_ray.oracle.figures.matrices import Matrix, matrix_figure
from xlt_ray.recipe.driver import verbs_of
from xlt_ray.report.figures import require_matplotlib, write_pictures
from xlt_ray.report.tables import markdown_table
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.gold_steps import Oracle, read_gold
from xlt_ray.run.scoring import Scorer, all_gold
from xlt_ray.run.session import connected, open_run
from xlt_ray.store.artifacts import Artifact, Store
from xlt_ray.store.lease import Lease
from xlt_ray.store.run_folder import RunFolder


@dataclass(frozen=True)
class Injected:
    """The made-up sources.

    Attributes:
        diagonals: Chance that each source says the true label; one source per number.
        confused: Other labels that it says in place of a true one.
        seed: Seed of the matrices; what is said depends on the seed of the run, too.
        missing: Share of the rows that each source has not seen, drawn by itself for each.
        called: What they are called, with numbers behind.
    """

    diagonals: tuple[float, ...]
    confused: int = 2
    seed: int = 0
    missing: float = 0.0
    called: str = "source"

    @property
    def names(self) -> tuple[str, ...]:
        """What the sources are called."""
        return tuple(f"{self.called}{number + 1}" for number in range(len(self.diagonals)))

    def matrix(self, number: int, num_classes: int) -> np.ndarray:
        """[K, K] of a source: its diagonal, and the rest spread at random over a few labels."""
        rng = np.random.default_rng(seed_of(self.seed, "matrix", number))
        matrix = np.diag(np.full(num_classes, self.diagonals[number]))
        for true in range(num_classes):
            others = [label for label in range(num_classes) if label != true]
            chosen = rng.choice(others, size=self.confused, replace=False)
            rest = 1 - self.diagonals[number]
            matrix[chosen, true] = rest * rng.dirichlet(np.ones(self.confused))
        return matrix


def draw_labels(
    gold: Artifact, *, matrix: Sequence[Sequence[float]], seed: int, missing: float = 0.0
) -> tuple[pa.Table, dict[str, Any]]:
    """What a made-up source says about a text: one draw for each item from its label's column.

    Args:
        gold: Gold labels of the text.
        matrix: [K, K], columns sum to 1.
        seed: Seed of the draws.
        missing: Share of the rows that it has not seen.

    Returns:
        ``id``, ``language``, ``labels`` and ``probs``, which are all on the label; -100 and zeros
        in rows that it has not seen. And ``items``, and the share of these that is ``right``, of
        those that it has seen.
    """
    names = [name for name in gold.names if name.startswith("gold-")]
    rows = sorted_by_id(pa.concat_tables([gold.shard(name) for name in names]))
    true_N, offsets = items_of(rows["labels"])
    edges_KK = np.cumsum(np.asarray(matrix), axis=0)
    draw = np.random.default_rng(seed)
    draw_N = draw.random(len(true_N))
    column_KN = edges_KK[:, np.where(true_N == UNLABELLED, 0, true_N)]
    said_N = np.minimum((column_KN < draw_N).sum(axis=0), len(edges_KK) - 1)
    probs_NK = np.eye(len(edges_KK), dtype=np.float16)[said_N]
    right = said_N == true_N
    if missing:
        unseen_N = np.repeat(draw.random(len(rows)) < missing, np.diff(offsets))
        right, said_N = right[~unseen_N], np.where(unseen_N, UNLABELLED, said_N)
        probs_NK[unseen_N] = 0
    ends = pa.array(offsets.astype(np.int32))
    vectors = pa.array(list(probs_NK), pa.list_(pa.float16()))
    table = rows.select(["id", "language"])
    said = pa.array(said_N.astype(np.int16))
    table = table.append_column("labels", pa.ListArray.from_arrays(ends, said))
    table = table.append_column("probs", pa.ListArray.from_arrays(ends, vectors))
    return table, {"items": len(true_N), "right": float(right.mean())}


def sources(oracle: Oracle, injected: Injected) -> Sources:
    """What the made-up sources say about the unlabelled text, as durable steps."""
    gold, driver = oracle.gold, oracle.driver
    k, said = driver.context.num_classes, []
    for number, name in enumerate(injected.names):
        matrix, seed = injected.matrix(number, k).tolist(), seed_of(driver.seed, "said", number)
        options = {"missing": injected.missing} if injected.missing else {}
        drawn = oracle.derive(
            f"made-up {name}", draw_labels, gold, matrix=matrix, seed=seed, **options
        )
        said.append(drawn)
    labellers = injected.names if injected.missing else ()
    return Sources(injected.names, tuple(said), ("probs",), labellers)


def carry_out(config: RunConfig[Any], injected: Injected) -> list[dict[str, Any]]:
    """Learn every target from the made-up sources; returns a record per target.

    A record has the score on the test split and, for LVM, per source the matrices and how far the
    learned one is from the given one.
    """
    with open_run(config) as begun:
        driver = RayDriver(config, begun.runner, begun.plan)
        gold = all_gold(driver)
        scorer, oracle = Scorer(driver, gold), Oracle(driver, gold)
        scorer.check_test()
        said, text = sources(oracle, injected), driver.unlabelled()
        method = METHODS[config.method.name](config.method)
        assert isinstance(method, MultiSource), "checked beforehand"
        records, verbs = [], verbs_of(driver)
        known = text.labelled(said.artifacts[0])  # a row with a bad tag has no gold
        for target in driver.pools:
            learnt = method.learn(verbs, target, method.share(verbs, known, target), said)
            model = learnt.model
            scores = scorer.evaluate("final", model, "test", target)
            score = scores[target][driver.benchmark.metric]
            record: dict[str, Any] = {"target": target, "score": score, "matrices": []}
            record["trainings"] = len(learnt.trainings)
            if isinstance(method, LVM):
                k = driver.context.num_classes
                channel = method.channel(driver, said.names)
                begin = np.exp(channel.log_start(k).numpy())
                matrices = learnt_matrices(channel, model, k)
                for number, (name, phi) in enumerate(matrices.items()):
                    given = injected.matrix(number, k) * _prior(oracle, target)
                    apart = {**distance(phi, given), "start": distance(begin, given)["tv"]}
                    record["matrices"].append({"source": name, "learned": phi.tolist(), **apart})
            records.append(record)
        begun.folder.write_json("channel.json", records)
        return records


def _prior(oracle: Oracle, target: str) -> np.ndarray:
    """[K] share of each class in the gold of the unlabelled text."""
    gold, k = oracle.gold.shard(f"gold-{target}.parquet"), oracle.driver.context.num_classes
    labels = items_of(gold["labels"])[0]
    counts = np.bincount(labels[labels != UNLABELLED], minlength=k)
    return counts / counts.sum()


def configure(
    defaults: Mapping[str, Any], files: Sequence[str] = (), flags: Sequence[str] = ()
) -> CompareConfig:
    """The configuration of the rows, each of which has to learn from source models.

    Raises:
        ConfigError: as `xlt_ray.commands.compare.configure` does, and for a method that does not.
    """
    config = configure_rows(defaults, files, flags)
    for title, seeds in config.rows.items():
        name = seeds[config.section.seeds[0]].method.name
        if not issubclass(METHODS[name], MultiSource):
            able = ", ".join(x for x in METHODS if issubclass(METHODS[x], MultiSource))
            raise ConfigError(
                f"row {title!r}: {name} learns from no source models; allowed: {able}"
            )
    return config


def study(injected: Injected, config: CompareConfig) -> dict[str, Any]:
    """Carry out every run, write page and figure; returns the findings.

    Args:
        injected: The made-up sources.
        config: The rows and seeds.
    """
    require_matplotlib()
    folder = RunFolder(Store(config.first.store.root), config.name)
    with Lease(folder.store, folder.path) as lease:
        folder.write_json("config.json", {**config.to_dict(), "injected": asdict(injected)})
        records = []
        with connected(config.first):
            for title, seed in config.announced():
                found = carry_out(config.rows[title][seed], injected)
                records += [{"row": title, "seed": seed, **record} for record in found]
        findings = {"name": config.name, "injected": asdict(injected), "records": records}
        lease.check()
        _publish(findings, injected, config, folder)
        return findings


def _publish(
    findings: dict[str, Any], injected: Injected, config: CompareConfig, folder: RunFolder
) -> None:
    names = benchmark_of(config.first).labels
    shown = next((x for x in findings["records"] if x["matrices"]), None)
    if shown is not None:
        lines = [
            [Matrix(f"{found['source']}: given", names, injected.matrix(number, len(names))),
             Matrix(f"{found['source']}: learned", names, np.array(found["learned"]))]
            for number, found in enumerate(shown["matrices"])
        ]  # fmt: skip
        place = f"{shown['row']}, {shown['target']}, seed {shown['seed']}"
        note = "the sources were made up from gold, to see whether LVM finds how"
        heading = f"Given and learned confusions: {place}"
        write_pictures("figure-channel", matrix_figure(lines, heading=heading, note=note),
                       folder.write)  # fmt: skip
    folder.write("channel.md", markdown(findings).encode())
    folder.write("channel.json", (json.dumps(findings, indent=1) + "\n").encode())
    print(f"channel: {folder.path}/channel.md", flush=True)


def markdown(findings: Mapping[str, Any]) -> str:
    """The page: scores by row, and how far the learned matrices are from the given ones."""
    records, given = findings["records"], findings["injected"]
    by_row: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_row.setdefault(record["row"], []).append(record)
    rows, errors = [], []
    for title, found in by_row.items():
        seeds: dict[int, list[float]] = {}
        for record in found:
            seeds.setdefault(record["seed"], []).append(100 * record["score"])
        means = [statistics.fmean(values) for values in seeds.values()]
        spread = f"{statistics.stdev(means):.2f}" if len(means) > 1 else ""
        rows.append([title, f"{statistics.fmean(means):.2f}", spread])
        by_source: dict[str, list[Mapping[str, Any]]] = {}
        for matrix in (matrix for record in found for matrix in record["matrices"]):
            by_source.setdefault(matrix["source"], []).append(matrix)
        for name, matrices in by_source.items():
            cells = [
                f"{100 * statistics.fmean(matrix[key] for matrix in matrices):.1f}"
                for key in ("start", "tv", "most", "mean")
            ]
            errors.append([title, name, *cells])
    diagonals = ", ".join(f"{value:g}" for value in given["diagonals"])
    parts = [
        f"# {findings['name']}",
        f"Sources made up from gold labels, which say the true label with the chances {diagonals} "
        f"and otherwise one of {given['confused']} that stand in for it, the same all the time; "
        f"independently for each word. Each has not seen {given.get('missing', 0):.0%} of the "
        "rows. These are no scores of transfer.",
        markdown_table(["row", "score", "std over seeds"], rows, left=1),
    ]
    if errors:
        head = ["row", "source", "TV at the start", "TV", "largest difference",
                "mean difference"]  # fmt: skip
        parts += [
            "Total variation between a column of the learned matrix and the given one, mean over "
            "the positions, and differences of their entries, times 100:",
            markdown_table(head, errors, left=2),
        ]
    return "\n\n".join(parts) + "\n"


def dry_run(config: CompareConfig) -> int:
    """The dry run of the rows as ordinary runs; raises ConfigError if nothing could be drawn."""
    require_matplotlib()
    return dry_run_of_runs(config, first=read_gold)


def job(injected: Injected) -> Job:
    """What ``jobs/oracle_channel.py`` does with its flags."""
    return Job(configure, partial(study, injected), dry_run, keys)
