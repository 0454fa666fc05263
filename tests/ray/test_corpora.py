"""Tokenising again after a kill: what is there stays, what is missing is made, counts are right."""

from pathlib import Path
from typing import Any

import pytest

from tests.world import SIZES, SOURCE, World
from xlt_ray.data.benchmarks.registry import BENCHMARKS, sources
from xlt_ray.data.readers.base import NamedSource
from xlt_ray.engine import read as corpora
from xlt_ray.engine.backbone import backbone_of
from xlt_ray.engine.read import ReadText, TokeniseTask, map_rows, run_read, run_tokenise
from xlt_ray.store.artifacts import Artifact, Store

pytestmark = pytest.mark.ray


@pytest.fixture
def inputs(ray_cluster: str, world: World, tmp_path: Path) -> tuple[Store, Artifact, Artifact]:
    """A store with the text of one split and a backbone."""
    store = Store(str(tmp_path))
    found = sources(BENCHMARKS["wikiann"], root=str(world.corpus), languages=[SOURCE], split="dev")
    text = store.attempt("text", "t")
    task = ReadText(
        attempt=text, sources=tuple(map(NamedSource.of, found)), task="token",
        limits={"dev": None}, shard_rows=32, max_bad_fraction=0.0,
    )  # fmt: skip
    record = {"info": run_read(task)}
    encoder = store.attempt("backbone", "b")
    backbone_of(world.config(tmp_path)).write(encoder)
    return (
        store,
        store.commit(text, {**record, "seconds": 0.0}),
        store.commit(encoder, {"info": {}, "seconds": 0.0}),
    )


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_shards_of_an_earlier_attempt_are_taken_over(
    inputs, monkeypatch: pytest.MonkeyPatch, kept: int
):
    """What is left takes as long as it has text."""
    told: list[float] = []

    def watched(items: Any, function: Any, seconds: float) -> Any:
        told.append(seconds)
        return map_rows(items, function, seconds)

    monkeypatch.setattr(corpora, "map_rows", watched)
    store, text, backbone = inputs
    killed = store.attempt("tokens", "x")
    task = TokeniseTask(text=text, backbone=backbone, task="token")
    whole = run_tokenise(task.into(killed))
    assert whole["rows"] == SIZES["dev"]
    assert whole["shards"] == 3
    for number in range(kept, 3):
        path = store.base + f"/artifacts/tokens/{killed.folder}/part-{number:06d}.parquet"
        Path(path).unlink()
    attempt = store.attempt("tokens", "x")
    assert store.adopt(attempt) == kept
    assert run_tokenise(task.into(attempt)) == whole
    assert len(told) == (2 if kept < 3 else 1)
    assert told[-1] == (told[0] if kept in (0, 3) else pytest.approx(told[0] * 2 / 3, rel=0.2))
