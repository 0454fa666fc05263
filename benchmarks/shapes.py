"""CLTP from end to end on encoders of several shapes: the folders that are named, and two others of
the size of the first, made here from a random start with its tokenizer.

ModernBERT has rotary positions, gated layers and local attention, DeBERTa-v3 disentangled
attention. From a random start they learn little of a few hundred sentences: what is looked at is
that every step works, how long it takes, and that the published model is a stock one.

    python -m benchmarks.shapes --wikiann FOLDER --backbone FOLDER [--backbone FOLDER] [--rows 300]
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

import xlt_ray
from benchmarks.measure import title
from xlt_ray.store.artifacts import Store
from xlt_ray.store.run_folder import RunFolder

SHAPES: dict[str, dict[str, Any]] = {
    "modernbert": {"local_attention": 64, "global_attn_every_n_layers": 3},
    "deberta-v2": {
        "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 64,
        "norm_rel_ebd": "layer_norm", "share_att_key": True, "position_biased_input": False,
        "type_vocab_size": 0,
    },
}  # fmt: skip
"""Settings of the families that are made here: those of their small models, without sizes."""
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
FAST: dict[str, Any] = {"source_lr": 5e-4, "round_lr": 2e-4, "source_epochs": 25}
SLOW: dict[str, Any] = {"source_lr": 1e-4, "round_lr": 5e-5, "source_epochs": 10}
"""Rates and epochs from a random start, and of an encoder that was pre-trained."""


@dataclass(frozen=True)
class Passed:
    """What a run on an encoder did.

    Attributes:
        name: The encoder.
        parameters: How many it has.
        before: Average F1 of the targets, zero-shot.
        after: And of CLTP.
        selected: Rows that the rounds took.
        seconds: Of the whole run.
        steps: Of these, by kind of step.
    """

    name: str
    parameters: int
    before: float
    after: float
    selected: int
    seconds: float
    steps: dict[str, float]


def of_shape(family: str, like: Path, folder: Path) -> Path:
    """An encoder of a family, of the size and with the tokenizer of another, drawn at random."""
    tokenizer: Any = AutoTokenizer.from_pretrained(like, trust_remote_code=False)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    other = AutoConfig.from_pretrained(like, trust_remote_code=False)
    special = {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep")
    }
    config = AutoConfig.for_model(
        family,
        vocab_size=len(tokenizer),
        max_position_embeddings=512,
        bos_token_id=special["cls_token_id"],
        eos_token_id=special["sep_token_id"],
        **special,
        **{name: getattr(other, name) for name in SIZES},
        **SHAPES[family],
    )
    torch.manual_seed(0)
    AutoModel.from_config(config, trust_remote_code=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def passed(
    name: str, encoder: Path, wikiann: Path, store: Path, rows: int, rates: dict[str, Any]
) -> Passed:
    """Run CLTP on an encoder, and see that others read its model."""
    start = time.perf_counter()
    run = xlt_ray.self_train(
        method="cltp", backbone=str(encoder), store=str(store), name=name,
        benchmark={
            "name": "wikiann", "root": str(wikiann), "source": ["en"], "targets": ["de", "sw"],
            "max_rows": {"train": rows, "dev": rows, "unlabelled": rows, "test": rows},
        },
        train={"max_tokens": 1024, "head_lr_ratio": 10, "freeze_embeddings": True},
        resources={"annotators": 0, "train_cpus": 1, "num_cpus": 2},
        rounds=2, one_hot_rounds=1, round_epochs=2, final_epochs=1, **rates,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    folder = Path(run.folder) / "model"
    stock = AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=False)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    words = ["Anna", "lives", "in", "Ulm", ",", "not", "in", "Rome", "."]
    inputs = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        said = stock(**inputs).logits[0].argmax(dim=-1).tolist()
    firsts = [inputs.word_ids().index(number) for number in range(len(words))]
    others = tuple(stock.config.id2label[said[at]] for at in firsts)
    assert run.model.predict([words])[0].labels == others
    steps, records = dict[str, float](), RunFolder(Store(str(store)), name, create=False)
    for entry in records.read_lines("ledger.jsonl"):
        steps[entry["kind"]] = steps.get(entry["kind"], 0.0) + entry["seconds"]
    report = records.read_json("report.json") or {}
    selected = sum(sum(found["selected"].values()) for found in report["rounds"])
    before, after = report["zero_shot_average"], report["average"]
    size = sum(value.numel() for value in stock.parameters())
    return Passed(name, size, before, after, selected, seconds, steps)


def table(found: Sequence[Passed]) -> str:
    """What every encoder did."""
    lines = [
        "| encoder | parameters | zero-shot | CLTP | rows selected | seconds | train | annotate |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in found:
        train, annotate = (one.steps.get(kind, 0) for kind in ("model", "annotation"))
        lines.append(
            f"| {one.name} | {one.parameters / 1e6:.1f} M | {100 * one.before:.1f} "
            f"| {100 * one.after:.1f} | {one.selected} | {one.seconds:.0f} | {train:.0f} "
            f"| {annotate:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run, and print the table."""
    flags = argparse.ArgumentParser(description=title(__doc__))
    flags.add_argument("--wikiann", type=Path, required=True)
    flags.add_argument("--backbone", type=Path, action="append", required=True)
    flags.add_argument("--rows", type=int, default=300)
    asked = flags.parse_args()
    print(title(__doc__))
    found = list[Passed]()
    with TemporaryDirectory() as scratch:
        encoders = [(folder.name, folder, SLOW) for folder in asked.backbone]
        encoders += [
            (family, of_shape(family, asked.backbone[0], Path(scratch) / family), FAST)
            for family in SHAPES
        ]
        for name, folder, rates in encoders:
            found.append(
                passed(name, folder, asked.wikiann, Path(scratch) / "store", asked.rows, rates)
            )
            print(table(found[-1:]), flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
