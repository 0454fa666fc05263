"""How far the classes of source and target are apart in each layer: conditional feature shift.

For each layer of an encoder, the mean state of every class on source and on target text, and the L1
distance of the two, by the model that a run starts from and by the one that it ends with (Figure 2
of the IWDA paper). Gold of the target is read after the run, for this page alone.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from xlt_ray.commands.cli import Job, run_keys
from xlt_ray.config.schema import RunConfig
from xlt_ray.data.batches.examples import Examples, examples_of
from xlt_ray.data.batches.layout import layout_in
from xlt_ray.data.batches.planning import plan_batches
from xlt_ray.data.keyed import with_ids
from xlt_ray.data.schema import Task
from xlt_ray.labels import UNLABELLED
from xlt_ray.models.classifier import Classifier
from xlt_ray.models.load import load_classifier
from xlt_ray.recipe.corpus import Corpus, Model, sample_ids
from xlt_ray.report.figures import Curve, Panel, draw_lines, require_matplotlib, write_pictures
from xlt_ray.report.tables import markdown_table
from xlt_ray.run.check import configure_run
from xlt_ray.run.gold_steps import Oracle, read_gold
from xlt_ray.run.rehearsal import rehearse
from xlt_ray.run.session import carry_out, connected
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.run_folder import RunFolder

ROWS = 1000
"""Rows of each side that the means are taken over at most, drawn at random."""


def class_means(
    model: Classifier, examples: Examples, num_classes: int, budget: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean state of each class in each layer.

    Args:
        model: Encoder with a head.
        examples: Labelled rows.
        num_classes: K.
        budget: Token budget of a forward pass.

    Returns:
        [L + 1, K, H] means in float64, those of the embeddings first, 0 where a class has no item;
        and [K] the number of its items.
    """
    sums, counts = torch.zeros(0), torch.zeros(num_classes, dtype=torch.float64)
    for part in plan_batches(examples.longest, examples.num_windows, budget):
        batch = examples.collate(part)
        with torch.inference_mode():
            states = torch.stack(model.layers(batch)).double()
        known = batch.labels != UNLABELLED
        of_class = torch.nn.functional.one_hot(batch.labels[known], num_classes).double()
        found = torch.einsum("nk,lnh->lkh", of_class, states[:, known])
        sums = found if not len(sums) else sums + found
        counts += of_class.sum(dim=0)
    return (sums / counts.clamp_min(1)[:, None]).numpy(), counts.numpy()


def layer_shift(
    model: Artifact,
    tokens_S: Artifact,
    gold_S: Artifact,
    tokens_T: Artifact,
    gold_T: Artifact,
    *,
    source: str,
    target: str,
    labels: Sequence[str],
    task: Task,
    max_length: int,
    budget: int,
    seed: int,
) -> tuple[pa.Table, dict[str, Any]]:
    """Conditional feature shift by layer.

    Returns:
        ``layer`` (0: the embeddings) and ``shift``, the mean over the classes that both sides have
        of the L1 distance of their means; as a fact the classes left out.
    """
    folder = model.local()
    classifier = load_classifier(folder, labels, task).eval()
    layout = layout_in(folder, max_length, task)
    means, there = [], []
    for tokens, gold, language in ((tokens_S, gold_S, source), (tokens_T, gold_T, target)):
        rows = Corpus(tokens).labelled(gold).of(language).rows()
        rows = with_ids(rows, sample_ids(rows["id"].combine_chunks(), ROWS, seed=seed))
        found, counts = class_means(classifier, examples_of(rows, layout), len(labels), budget)
        means.append(found)
        there.append(counts > 0)
    both = there[0] & there[1]
    shift_L = np.abs(means[0] - means[1])[:, both].sum(axis=2).mean(axis=1)
    missing = [name for name, is_there in zip(labels, both, strict=True) if not is_there]
    table = {"layer": np.arange(len(shift_L)), "shift": shift_L}
    return pa.table(table), {"classes": int(both.sum()), "missing": missing}


def find(config: RunConfig[Any]) -> dict[str, Any]:
    """Carry out a run, measure where it starts and ends, write page and figure.

    Raises:
        ConfigError: matplotlib is missing; nothing has run.
    """
    require_matplotlib()
    with connected(config), carry_out(config, first=read_gold) as done:
        driver, outcome = done.driver, done.outcome
        records: list[dict[str, Any]] = []
        for target in driver.pools:
            start = outcome.zero_shot_by_language.get(target, outcome.zero_shot)
            end = outcome.by_language.get(target, outcome.final)
            for name, model in (("start", start), ("end", end)):
                found = _measure(done.oracle, name, model, target)
                records.append({"target": target, "model": name, **found})
        findings = {"run": config.run_name, "records": records}
        _publish(findings, RunFolder(driver.runner.store, config.run_name))
        return findings


def _measure(oracle: Oracle, name: str, model: Model, target: str) -> dict[str, Any]:
    driver = oracle.driver
    gold, train = driver.source("train"), driver.config.train
    assert gold.labels is not None
    text = driver.unlabelled().tokens
    inputs = (model.artifact, gold.tokens, gold.labels, text, oracle.gold)
    found = oracle.derive(
        f"{target}: shift by layer at the {name}",
        layer_shift,
        *inputs,
        source=driver.source_languages[0],
        target=target,
        labels=list(driver.labels.names),
        task=driver.context.task,
        max_length=train.max_length,
        budget=driver.plan.batch_tokens,
        seed=driver.seed,
    )
    return {"shift": found.table()["shift"].to_pylist(), "missing": found.info["missing"]}


def last_shift(oracle: Oracle, model: Model, target: str) -> float:
    """Conditional shift between source and target in the last layer of a model (I1)."""
    return float(_measure(oracle, "start", model, target)["shift"][-1])


def _publish(findings: dict[str, Any], folder: RunFolder) -> None:
    lines = []
    for target in dict.fromkeys(x["target"] for x in findings["records"]):
        curves = [
            Curve(x["model"], list(range(len(x["shift"]))), x["shift"], look=look)
            for look, x in enumerate(x for x in findings["records"] if x["target"] == target)
        ]
        lines.append([Panel(target, "layer", "shift (L1)", curves, True)])
    heading = f"Conditional feature shift: {findings['run']}"
    note = "gold was read after the run, for this figure alone"
    pictures = draw_lines(lines, heading=heading, note=note)
    write_pictures("figure-feature-shift", pictures, folder.write)
    folder.write("shift.md", markdown(findings).encode())
    folder.write("shift.json", (json.dumps(findings, indent=1) + "\n").encode())
    print(f"oracle: {folder.path}/shift.md", flush=True)


def markdown(findings: dict[str, Any]) -> str:
    """The page: shift of every layer, before and after."""
    records = findings["records"]
    layers = max(len(x["shift"]) for x in records)
    rows = [[x["target"], x["model"], *(f"{value:.3f}" for value in x["shift"])] for x in records]
    missing = sorted({name for x in records for name in x["missing"]})
    parts = [
        f"# {findings['run']}: conditional feature shift",
        "L1 distance between the mean states of a class on source and on target text, mean over "
        "the classes, by layer; layer 0 are the embeddings. Of a text it is the state of its first "
        "token, whose embedding is always the same. Gold was read after the run, for this page "
        "alone.",
        markdown_table(["target", "model", *map(str, range(layers))], rows, left=2),
    ]
    if missing:
        parts.append(f"Left out, since one side has no item of them: {', '.join(missing)}.")
    return "\n\n".join(parts) + "\n"


def dry_run(config: RunConfig[Any]) -> int:
    """The dry run of the run; raises ConfigError if the figure could not be drawn."""
    require_matplotlib()
    return rehearse(config, first=read_gold)


JOB = Job(configure_run, find, dry_run, run_keys)
"""What ``jobs/oracle_features.py`` does with its flags."""
