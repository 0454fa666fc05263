"""Whether the matrices that LVM learns are those by which the sources are really wrong.

The true matrix of a source is counted on the unlabelled text against its gold, which is read after
the run and for this page alone.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load

from xlt_ray.commands.cli import Job, run_keys
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import RunConfig
from xlt_ray.data.keyed import items_of, of_language, positions, with_ids
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods import METHODS
from xlt_ray.methods.lvm.channel import Channel, Confusions
from xlt_ray.methods.lvm.recipe import LVM
from xlt_ray.methods.shared.sources import Sources, dense, predictions, source_models
from xlt_ray.models.classifier import OWN_FILE
from xlt_ray.oracle.figures.matrices import Matrix, matrix_figure
from xlt_ray.recipe.corpus import Model
from xlt_ray.report.figures import require_matplotlib, write_pictures
from xlt_ray.report.tables import markdown_table
from xlt_ray.run.check import configure_run
from xlt_ray.run.gold_steps import Oracle, read_gold
from xlt_ray.run.rehearsal import rehearse
from xlt_ray.run.session import carry_out, connected
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.run_folder import RunFolder


def count(
    said: Artifact, gold: Artifact, *, language: str, num_classes: int, columns: Sequence[str]
) -> tuple[pa.Table, dict[str, Any]]:
    """How often a source says each class where each is true.

    Args:
        said: What the source says.
        gold: Gold labels of the same text.
        language: The language that is counted.
        num_classes: K.
        columns: Columns of its probabilities, which are added up; ("labels",): its labels are.

    Returns:
        ``said``, ``true`` and ``count`` of every pair of classes.
    """
    truth = of_language(gold.shard(f"gold-{language}.parquet"), language)
    rows = of_language(said.table(["id", "language", *columns]), language)
    rows = with_ids(rows, truth["id"].combine_chunks())  # a row with a bad tag has no gold
    truth = truth.take(positions(rows, truth))
    true_N = items_of(truth["labels"])[0].astype(np.int64)
    found = [items_of(rows[name])[0] for name in columns]
    if list(columns) == ["labels"]:
        share_NK = np.eye(num_classes)[found[0].astype(np.int64)]
    else:
        probs, *top = (torch.tensor(values) for values in found)
        share_NK = dense(probs, top[0] if top else None, num_classes).numpy()
    known = true_N != UNLABELLED
    counts_KK = np.zeros((num_classes, num_classes))
    np.add.at(counts_KK.T, true_N[known], share_NK[known])
    said_K, true_K = np.indices(counts_KK.shape)
    table = {"said": said_K.ravel(), "true": true_K.ravel(), "count": counts_KK.ravel()}
    return pa.table(table), {"items": int(known.sum())}


def shares_of(counts_KK: np.ndarray) -> np.ndarray:
    """[K, K] columns divided by their sums; NaN where a class never occurs."""
    totals = counts_KK.sum(axis=0)
    return counts_KK / np.where(totals > 0, totals, np.nan)


def distance(phi_KK: np.ndarray, counts_KK: np.ndarray) -> dict[str, float]:
    """How far a matrix is from a counted one, over the classes that occur.

    Returns:
        ``tv``, the mean over the positions of their columns' total variation, in [0, 1]; ``most``
        and ``mean``, the largest and the mean difference of two entries.
    """
    totals = counts_KK.sum(axis=0)
    occurs = totals > 0
    apart = np.abs(phi_KK - shares_of(counts_KK))[:, occurs]
    tv = float(np.average(apart.sum(axis=0) / 2, weights=totals[occurs]))
    return {"tv": tv, "most": float(apart.max()), "mean": float(apart.mean())}


def learnt_matrices(channel: Channel, model: Model, num_classes: int) -> dict[str, np.ndarray]:
    """[K, K] phi of each source, as a trained model has it."""
    own = Confusions(len(channel.names), num_classes, 1.0, 1.0).double()
    own.load_state_dict(load(model.artifact.read(OWN_FILE)))
    like = torch.zeros(1, num_classes, dtype=torch.float64)
    with torch.no_grad():
        log_phi = channel.log_phi(own, float(own.lam), like)
    return {name: phi.exp().numpy() for name, phi in zip(channel.names, log_phi, strict=True)}


def configure(defaults: Any, files: Sequence[str] = (), flags: Sequence[str] = ()) -> RunConfig:
    """The configuration of a run of LVM; raises ConfigError for another method."""
    config = configure_run(defaults, files, flags)
    if METHODS[config.method.name] is not LVM:
        raise ConfigError(f"method.name: {config.method.name} learns no matrices, lvm does")
    return config


def find(config: RunConfig) -> dict[str, Any]:
    """Carry out a run of LVM, and hold its matrices against gold; returns the findings.

    Raises:
        ConfigError: matplotlib is missing; nothing has run.
    """
    require_matplotlib()
    with connected(config), carry_out(config, first=read_gold) as done:
        driver, method = done.driver, LVM(config.method)
        models = source_models(driver, config.method)
        said = predictions(driver, "unlabelled", driver.unlabelled(), models, config=config.method)
        names, records, lines = driver.labels.names, [], []
        for target, model in done.outcome.by_language.items():
            taught = driver.sources_of(target)
            channel = method.channel(driver, taught)
            learnt = learnt_matrices(channel, model, len(names))
            for name, phi in learnt.items():
                counts = _counts(done.oracle, name, said.of([name]), target, soft=channel.soft)
                begin = np.exp(channel.log_start(len(names)).numpy())
                right = float(np.trace(counts) / counts.sum())
                apart = {**distance(phi, counts), "start": distance(begin, counts)["tv"]}
                records.append({"target": target, "source": name, "right": right, **apart})
                title = f"{name} on {target}"
                lines.append([Matrix(f"{title}: counted", names, shares_of(counts)),
                              Matrix(f"{title}: learned", names, phi)])  # fmt: skip
        findings = {"run": config.run_name, "records": records}
        folder = RunFolder(driver.runner.store, config.run_name)
        note = "gold was read after the run, for this figure alone"
        pictures = matrix_figure(lines, heading=f"Confusions: {config.run_name}", note=note)
        write_pictures("figure-confusions", pictures, folder.write)
        folder.write("oracle.md", markdown(findings).encode())
        folder.write("oracle.json", (json.dumps(findings, indent=1) + "\n").encode())
        print(f"oracle: {folder.path}/oracle.md", flush=True)
        return findings


def _counts(oracle: Oracle, name: str, said: Sources, target: str, *, soft: bool) -> np.ndarray:
    """[K, K] of `count` for a source and a target."""
    k, names = oracle.driver.context.num_classes, list(said.columns if soft else ("labels",))
    title, inputs = f"{target}: confusions of {name}", (said.artifacts[0], oracle.gold)
    found = oracle.derive(title, count, *inputs, language=target, num_classes=k, columns=names)
    return found.table()["count"].to_numpy().reshape(k, k)


def markdown(findings: dict[str, Any]) -> str:
    """The page: how far each learned matrix is from the counted one."""
    rows = [
        [
            x["target"],
            x["source"],
            *(f"{100 * x[key]:.1f}" for key in ("right", "start", "tv", "most")),
        ]
        for x in findings["records"]
    ]
    head = ["target", "source", "right", "TV at the start", "TV", "largest difference"]
    return "\n\n".join([
        f"# {findings['run']}: learned and counted confusions",
        "Right: probability that the source gives to the true class. TV: total variation between a "
        "column of the matrix and the counted one, mean over the positions, before and after "
        "learning. All times 100. Gold was read after the run, for this page alone.",
        markdown_table(head, rows, left=2),
    ]) + "\n"  # fmt: skip


def dry_run(config: RunConfig) -> int:
    """The dry run of the run; raises ConfigError if the figure could not be drawn."""
    require_matplotlib()
    return rehearse(config, first=read_gold)


JOB = Job(configure, find, dry_run, run_keys)
"""What ``jobs/oracle_confusions.py`` does with its flags."""
