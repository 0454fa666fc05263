"""Counted and learned confusions: counts by hand, distances, made-up sources, and their pages."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from tests.encoders import commit
from xlt_ray.config.errors import ConfigError
from xlt_ray.methods.lvm.channel import Channel, Confusions
from xlt_ray.oracle import channel as study
from xlt_ray.oracle.channel import Injected, draw_labels
from xlt_ray.oracle.confusions import (
    configure,
    count,
    distance,
    learnt_matrices,
    markdown,
    shares_of,
)
from xlt_ray.oracle.figures.matrices import Matrix, matrix_figure
from xlt_ray.recipe.corpus import Model
from xlt_ray.store.artifacts import Artifact, Store

ROWS = [("a", "xx", [0, 1, -100]), ("b", "xx", [1]), ("c", "yy", [0])]
SAID = {"a": [0, 0, 1], "b": [1], "c": [1]}


def gold_of(store: Store, rows: list[tuple[str, str, list[int]]] = ROWS) -> Artifact:
    tables = {}
    for language in sorted({row[1] for row in rows}):
        own = [row for row in rows if row[1] == language]
        tables[f"gold-{language}"] = pa.table({
            "id": [row[0] for row in own],
            "language": [row[1] for row in own],
            "labels": pa.array([row[2] for row in own], pa.list_(pa.int16())),
        })  # fmt: skip
    return commit(store, "gold", "gold", tables)


def said_of(store: Store, probs: dict[str, Any] | None = None) -> Artifact:
    """What a source says, in other shards and another order than the gold."""
    languages = {row[0]: row[1] for row in ROWS}
    columns: dict[str, Any] = {
        "id": ["c", "b", "a"],
        "language": [languages[name] for name in "cba"],
        "labels": pa.array([SAID[name] for name in "cba"], pa.list_(pa.int16())),
    }
    if probs is not None:
        vectors = pa.list_(pa.list_(pa.float32()))
        columns["probs"] = pa.array([probs[name] for name in "cba"], vectors)
    return commit(store, "annotation", "said", {"part-000000": pa.table(columns)})


def test_pairs_of_said_and_true_are_counted_in_one_language(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    options: dict[str, Any] = {"language": "xx", "num_classes": 2, "columns": ["labels"]}
    table, facts = count(said_of(store), gold_of(store), **options)
    counts = table["count"].to_numpy().reshape(2, 2)
    assert counts.tolist() == [[1, 1], [0, 1]]  # said 0: once right, once for 1
    assert facts == {"items": 3}
    assert table["said"].to_pylist() == [0, 0, 1, 1]
    assert table["true"].to_pylist() == [0, 1, 0, 1]


def test_probabilities_are_added_up(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    probs = {"a": [[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]], "b": [[0.25, 0.75]], "c": [[1.0, 0.0]]}
    options: dict[str, Any] = {"language": "xx", "num_classes": 2, "columns": ["probs"]}
    table, _ = count(said_of(store, probs), gold_of(store), **options)
    assert table["count"].to_numpy().reshape(2, 2).tolist() == [[0.75, 0.75], [0.25, 1.25]]


def test_columns_are_shares_and_classes_that_never_occur_are_not_known() -> None:
    shares = shares_of(np.array([[3.0, 0.0], [1.0, 0.0]]))
    assert shares[:, 0].tolist() == [0.75, 0.25]
    assert np.isnan(shares[:, 1]).all()


def test_distances_are_means_over_positions() -> None:
    counts = np.array([[3.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    phi = np.array([[0.75, 0.5, 1.0], [0.25, 0.5, 0.0], [0.0, 0.0, 0.0]])
    found = distance(phi, counts)
    assert found["tv"] == pytest.approx((4 * 0.0 + 1 * 0.5) / 5)
    assert found["most"] == 0.5
    assert found["mean"] == pytest.approx(2 * 0.5 / 6)
    assert distance(np.where(np.isnan(shares_of(counts)), 0, shares_of(counts)), counts) == {
        "tv": 0.0,
        "most": 0.0,
        "mean": 0.0,
    }


def test_learnt_matrices_are_read_from_the_model(tmp_path: Path) -> None:
    own = Confusions(2, 3, 1.0, 0.25)
    with torch.no_grad():
        own.raw.copy_(torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0)))
    store = Store(str(tmp_path / "store"))
    save_file(own.state_dict(), tmp_path / "own")
    attempt = store.attempt("model", "m")
    attempt.copy("objective.safetensors", tmp_path / "own")
    model = Model(store.commit(attempt, {"info": {}, "seconds": 0.0}))
    channel = Channel(("s", "t"), soft=True, tau_psi=2.0, tau_sigma=1.0)
    found = learnt_matrices(channel, model, 3)
    psi = torch.softmax(2.0 * torch.eye(3), dim=0)
    for number, name in enumerate("st"):
        expected = 0.25 * psi + 0.75 * torch.softmax(own.raw[number].detach(), dim=0)
        assert found[name] == pytest.approx(expected.numpy(), abs=1e-6)
    assert channel.log_start(3).exp().numpy() == pytest.approx(psi.numpy(), abs=1e-6)


def test_a_made_up_source_is_right_as_often_as_it_should_be() -> None:
    injected = Injected((0.7, 0.2), confused=2)
    assert injected.names == ("source1", "source2")
    for number, diagonal in enumerate(injected.diagonals):
        matrix = injected.matrix(number, 5)
        assert matrix.sum(axis=0) == pytest.approx(np.ones(5))
        assert matrix.diagonal() == pytest.approx(np.full(5, diagonal))
        assert ((matrix > 0).sum(axis=0) == 3).all()
    assert not np.array_equal(injected.matrix(0, 5) > 0, injected.matrix(1, 5) > 0)


def test_what_it_says_is_drawn_from_the_column_of_the_truth(tmp_path: Path) -> None:
    store, matrix = Store(str(tmp_path)), Injected((0.6,)).matrix(0, 4)
    rng = np.random.default_rng(0)
    rows = [(f"r{n:04d}", "xx", rng.integers(0, 4, 20).tolist()) for n in range(1000)]
    gold = gold_of(store, rows)
    table, facts = draw_labels(gold, matrix=matrix.tolist(), seed=3)
    assert table["id"].to_pylist() == [row[0] for row in rows]
    said = commit(store, "annotation", "made", {"rows": table})
    counted, _ = count(said, gold, language="xx", num_classes=4, columns=["labels"])
    counts = counted["count"].to_numpy().reshape(4, 4)
    assert shares_of(counts) == pytest.approx(matrix, abs=0.02)
    assert facts["right"] == pytest.approx(0.6, abs=0.01)
    probs = np.array(table["probs"][0].as_py())
    assert probs.argmax(axis=1).tolist() == table["labels"][0].as_py()
    assert probs.sum(axis=1).tolist() == [1.0] * 20
    again, _ = draw_labels(gold, matrix=matrix.tolist(), seed=3)
    other, _ = draw_labels(gold, matrix=matrix.tolist(), seed=4)
    assert again == table
    assert other != table


def test_a_made_up_labeller_has_not_seen_all_rows(tmp_path: Path) -> None:
    matrix, names = Injected((0.6,)).matrix(0, 4), [f"r{n:04d}" for n in range(1000)]
    gold = gold_of(Store(str(tmp_path)), [(name, "xx", [1, 2]) for name in names])
    table, facts = draw_labels(gold, matrix=matrix.tolist(), seed=3, missing=0.3)
    labels = np.array(table["labels"].to_pylist())
    unseen = (labels < 0).all(axis=1)
    assert ((labels < 0).any(axis=1) == unseen).all()
    assert unseen.mean() == pytest.approx(0.3, abs=0.05)
    assert facts["right"] == pytest.approx(0.6, abs=0.05)
    probs = np.array(table["probs"].to_pylist())
    assert (probs.sum(axis=2) == np.where(unseen, 0, 1)[:, None]).all()
    whole, _ = draw_labels(gold, matrix=matrix.tolist(), seed=3)
    assert (np.array(whole["labels"].to_pylist())[~unseen] == labels[~unseen]).all()
    assert Injected((0.6,), called="labeller").names == ("labeller1",)


def test_pages() -> None:
    record = {"target": "nl", "source": "en", "right": 0.8, "start": 0.2, "tv": 0.05, "most": 0.1}
    page = markdown({"run": "x", "records": [record]})
    assert "| nl | en | 80.0 | 20.0 | 5.0 | 10.0 |" in page
    errors = {"source": "source1", "start": 0.3, "tv": 0.1, "most": 0.2, "mean": 0.03}
    records = [
        {"row": row, "seed": seed, "target": "nl", "score": score, "matrices": matrices}
        for row, seed, score, matrices in (
            ("hard_vote", 0, 0.7, []), ("hard_vote", 1, 0.8, []),
            ("lvm", 0, 0.9, [errors]), ("lvm", 1, 0.9, [{**errors, "tv": 0.2}]),
        )
    ]  # fmt: skip
    injected = {"diagonals": (0.7, 0.5), "confused": 2}
    page = study.markdown({"name": "x", "injected": injected, "records": records})
    assert "with the chances 0.7, 0.5" in page
    assert "| hard_vote | 75.00 | 7.07 |" in page
    assert "| lvm | 90.00 | 0.00 |" in page
    assert "| lvm | source1 | 30.0 | 15.0 | 20.0 | 3.0 |" in page
    assert "has not seen 0% of the rows" in page


@pytest.mark.slow
def test_pictures_have_their_titles_and_shares() -> None:
    matrix = Matrix("en on nl: learned", ["NOUN", "VERB"], np.array([[0.9, np.nan], [0.1, np.nan]]))
    found = matrix_figure([[matrix, matrix]], heading="Confusions", note="after the run")
    assert found["png"][:8] == b"\x89PNG\r\n\x1a\n"
    again = matrix_figure([[matrix, matrix]], heading="Confusions", note="after the run")
    assert found == again


def test_only_lvm_has_matrices_to_look_at() -> None:
    job = {"benchmark": {"name": "toy"}, "backbone": "toy", "method": {"name": "mrt"}}
    with pytest.raises(ConfigError, match="mrt learns no matrices, lvm does"):
        configure(job)
    assert configure({**job, "method": {"name": "lvm"}}).method.name == "lvm"


def test_made_up_sources_teach_methods_that_have_sources() -> None:
    job = {"benchmark": {"name": "toy"}, "backbone": "toy"}
    with pytest.raises(ConfigError, match="cltp learns from no source models; allowed: hard"):
        study.configure({**job, "compare": {"methods": ["lvm", "cltp"]}})
    assert list(study.configure({**job, "compare": {"methods": ["lvm", "hard"]}}).rows) == [
        "lvm", "hard",
    ]  # fmt: skip
