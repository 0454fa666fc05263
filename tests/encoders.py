"""Tiny encoders and tokenised tables for tests of what stands on them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from xlt_ray.data.batches.tokenise import TOKENISED
from xlt_ray.data.benchmarks.toy import LANGUAGES, unlabelled_text
from xlt_ray.models.pretrain import PretrainSettings, pretrain
from xlt_ray.store.artifacts import Artifact, Store

TINY = PretrainSettings(
    layers=2, hidden=16, heads=2, feed_forward=32, vocab_size=260, max_length=64, steps=1,
    batch_tokens=256,
)  # fmt: skip


def write_encoder(folder: Path, *, seed: int = 0) -> Path:
    """An encoder of two small random layers, with a tokenizer of the embedded benchmark."""
    text = [words for language in LANGUAGES for words in unlabelled_text(language, size=40)]
    pretrain(text, folder, settings=TINY, seed=seed, threads=1)
    return folder


def write_tagger(folder: Path, labels: Sequence[str], *, seed: int = 0) -> Path:
    """A stock tagger on such an encoder, with a random head: as of another program."""
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    encoder = write_encoder(folder / "encoder", seed=seed)
    torch.manual_seed(seed)
    names = dict(enumerate(labels))
    model = AutoModelForTokenClassification.from_pretrained(
        encoder, num_labels=len(labels), id2label=names, trust_remote_code=False,
        label2id={name: number for number, name in names.items()},
    )  # fmt: skip
    with torch.no_grad():  # what the encoder says of words differs little
        model.classifier.weight.normal_(std=1.0)
    model.save_pretrained(folder / "tagger")
    tokenizer: Any = AutoTokenizer.from_pretrained(encoder, trust_remote_code=False)
    tokenizer.save_pretrained(folder / "tagger")
    return folder / "tagger"


def tokenised(
    sentences: Sequence[Sequence[Sequence[int]]],
    *,
    languages: Sequence[str] = (),
    ids: Sequence[str] = (),
    labels: Sequence[Sequence[int]] | None = None,
    candidates: Sequence[Sequence[int]] | None = None,
) -> pa.Table:
    """A tokenised table of sentences, given as the sub-words of each of their words."""
    count = len(sentences)
    columns = [
        pa.array(ids or [f"s{number:04d}" for number in range(count)], pa.string()),
        pa.array(languages or ["xx"] * count, pa.string()),
        pa.array([[piece for word in words for piece in word] for words in sentences]),
        pa.array([[len(word) for word in words] for words in sentences]),
    ]
    shapes = pa.array([[0] * len(words) for words in sentences])
    schema = TOKENISED["token"]
    found = zip([*columns, shapes], schema.types, strict=True)
    table = pa.table([column.cast(kind) for column, kind in found], schema=schema)
    if labels is not None:
        table = table.append_column("labels", pa.array(labels, pa.list_(pa.int16())))
    if candidates is not None:
        table = table.append_column("candidates", pa.array(candidates, pa.list_(pa.int64())))
    return table


def commit(store: Store, kind: str, name: str, tables: Mapping[str, pa.Table]) -> Artifact:
    """An artifact of Parquet files."""
    attempt = store.attempt(kind, name)
    for file, table in tables.items():
        attempt.write_table(f"{file}.parquet", table)
    rows = sum(len(table) for table in tables.values())
    return store.commit(attempt, {"info": {"rows": rows}, "seconds": 0.0})
