"""Pseudo-labels of MARAL against gold: counts by hand, the plane of a projection, the page."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.encoders import commit
from xlt_ray.config.errors import ConfigError
from xlt_ray.methods.maral.recipe import MARALConfig
from xlt_ray.oracle.figures.spans import (
    f1_of,
    markdown,
    missed_of,
    noise_of,
    off_diagonal,
    span_figure,
)
from xlt_ray.oracle.spans import (
    OUTSIDE,
    configure,
    epochs_in,
    head_behind,
    label_noise,
    projection,
)
from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.method import Outcome
from xlt_ray.store.artifacts import Artifact, Store

LABELS = ["O", "B-X", "I-X", "B-Y", "I-Y"]


def gold_of(store: Store) -> Artifact:
    """a: X over both of two words; b: one word, Y; c has no gold."""
    table = pa.table({"id": ["b", "a"], "labels": pa.array([[3], [1, 2]], pa.list_(pa.int16()))})
    return commit(store, "gold", "g", {"gold-x": table})


def test_labels_are_counted_by_epoch_class_and_reliability(tmp_path: Path) -> None:
    """Spans of a: first word, both, second word. Codes are twice the class, plus 1 if reliable."""
    store = Store(str(tmp_path))
    kind = pa.list_(pa.int8())
    first = pa.table({"id": ["c", "a"], "epoch-0": pa.array([[3], [1, 3, 2]], kind),
                      "epoch-1": pa.array([[3], [1, 2, 1]], kind)})  # fmt: skip
    second = pa.table({"id": ["b"], "epoch-0": pa.array([[3]], kind),
                       "epoch-1": pa.array([[5]], kind)})  # fmt: skip
    student = commit(store, "model", "m", {"labels-000": first, "labels-001": second})
    table, facts = label_noise(student, gold_of(store), labels=LABELS, max_len=2, epochs=2)
    moved = {"to_entity": 0, "right": 0, "overlap": 0, "to_o": 1}
    assert facts == {"classes": ["O", "X", "Y"], "entities": 2, "moved": moved}
    rows = {(x["epoch"], x["said"], x["reliable"]): (x["spans"], x["right"])
            for x in table.to_pylist()}  # fmt: skip
    assert rows[0, "O", True] == (1, 1)
    assert rows[0, "X", False] == (1, 0), "the second word"
    assert rows[0, "X", True] == (2, 1), "both words of a, and b, which is a Y"
    assert rows[1, "X", False] == (1, 1)
    assert rows[1, "Y", True] == (1, 1)
    assert sum(count for count, _ in rows.values()) == 8, "c has no gold"
    counted = table.to_pylist()
    assert noise_of(counted, 0, reliable=None) == pytest.approx(2 / 3)
    assert noise_of(counted, 0, reliable=True) == pytest.approx(1 / 2)
    assert noise_of(counted, 1, reliable=None) == 0
    assert noise_of([], 0, reliable=None) is None
    assert f1_of(counted, 0, 2) == pytest.approx(2 * 1 / (3 + 2))
    assert f1_of(counted, 1, 2) == 1
    assert (missed_of(counted, 0, 2), missed_of([], 0, 2), f1_of([], 0, 2)) == (0, None, None)


def test_moved_labels_are_told_apart_by_what_they_are(tmp_path: Path) -> None:
    """Of a row of three words, the first two an entity, four spans of O become an X."""
    store, kind = Store(str(tmp_path)), pa.list_(pa.int8())
    labels = pa.array([[1, 2, 0]], pa.list_(pa.int16()))
    gold = commit(store, "gold", "g", {"gold-x": pa.table({"id": ["a"], "labels": labels})})
    # first, first and second, second, second and third, third word
    student = commit(store, "model", "m", {"labels-000": pa.table({
        "id": ["a"],
        "epoch-0": pa.array([[2, 0, 0, 0, 0]], kind),
        "epoch-1": pa.array([[0, 2, 2, 3, 3]], kind),
    })})  # fmt: skip
    _, facts = label_noise(student, gold, labels=LABELS, max_len=2, epochs=2)
    assert facts["moved"] == {"to_entity": 4, "right": 1, "overlap": 2, "to_o": 1}


def test_entities_and_some_others_are_projected(tmp_path: Path) -> None:
    """The plane keeps the distances of vectors that lie in one."""
    store, generator = Store(str(tmp_path)), np.random.default_rng(0)
    flat = generator.normal(size=(4, 2))
    z = flat @ np.linalg.qr(generator.normal(size=(6, 2)))[0].T
    scores = [[5.0, 0, 0], [0, 7.0, 0], [5.0, 0, 0], [0, 9.0, 0]]
    vectors = pa.list_(pa.list_(pa.float32()))
    said = pa.table({
        "id": ["b", "a"],
        "z": pa.array([z[3:].tolist(), z[:3].tolist()], vectors),
        "scores": pa.array([scores[3:], scores[:3]], vectors),
    })  # fmt: skip
    gold = gold_of(store)
    found, _ = projection(
        commit(store, "annotation", "s", {"p0": said}), gold, labels=LABELS, max_len=2
    )
    rows = found.to_pydict()
    assert len(rows["x"]) == 4 <= OUTSIDE
    assert rows["true"] == [1, 2, 0, 0]
    assert rows["said"] == [1, 1, 0, 0]
    assert rows["score"] == [7.0, 9.0, 5.0, 5.0]
    points = np.stack([rows["x"], rows["y"]], axis=1)
    order = [1, 3, 0, 2]
    wanted = np.linalg.norm(z[order][:, None] - z[order][None], axis=-1)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    assert apart == pytest.approx(wanted, abs=1e-6)


def test_spans_are_as_long_as_those_of_the_run(tmp_path: Path) -> None:
    """With method.max_len=null the run chooses the length."""
    model = Model(commit(Store(str(tmp_path)), "model", "m", {}))
    method = MARALConfig(max_len=None, loss="scl")
    head = head_behind(method, Outcome(model, model, longest=7))
    assert (head.max_len, head.scores) == (7, "softmax")
    assert head_behind(MARALConfig(), Outcome(model, model, longest=4)).max_len == 4


def test_scores_within_an_epoch_are_no_epochs() -> None:
    entries = [{"own": {"source": 1.0}}, {"own": {"source": 0.5, "cosines": []}}, {"epoch": 2}]
    assert epochs_in(entries) == [{"source": 0.5, "cosines": []}]


def record() -> dict[str, Any]:
    noise = [
        {"epoch": 0, "said": "X", "reliable": True, "spans": 4, "right": 3},
        {"epoch": 0, "said": "O", "reliable": True, "spans": 90, "right": 80},
    ]
    own = {"cosines": [[1, -0.5], [-0.5, 1]], "reliable": [1.0, 0.5], "gamma_mean": 1.25,
           "alpha": None}  # fmt: skip
    points = {"x": [0.0, 1.0], "y": [1.0, 0.0], "true": [0, 1], "said": [1, 1], "score": [3.0, 9.0]}
    epochs = [own, {**own, "alpha": 0.95}]
    return {"target": "sw", "classes": ["O", "X"], "best_margin": 2.0, "epochs": epochs,
            "entities": 20, "moved": {"to_entity": 9, "right": 2, "overlap": 5, "to_o": 1},
            "noise": noise, "points": points}  # fmt: skip


def test_the_page_has_a_line_per_epoch() -> None:
    page = markdown({"run": "r", "records": [record()]})
    assert "Best possible with 2 classes: cosine -1.000, margin 2.000." in page
    assert "| 1 | 25.0 | 25.0 | - | 50.0 | 25.0 | -0.500 | -0.500 | 1.250 | - |" in page
    assert "| 2 | - | - | - | - | - | -0.500 | -0.500 | 1.250 | 0.950 |" in page
    assert "9 spans of O became entities, 2 of them rightly; 5 of the others overlap" in page
    assert off_diagonal([[1, 0.2], [0.4, 1]]).tolist() == [0.2, 0.4]


@pytest.mark.slow
def test_the_figure_is_drawn_the_same_again() -> None:
    first, second = span_figure(record()), span_figure(record())
    assert first == second
    assert first["png"][:8] == b"\x89PNG\r\n\x1a\n"


def test_other_methods_are_refused(tmp_path: Path) -> None:
    values = {"benchmark": {"name": "toy"}, "backbone": "toy", "method": {"name": "cltp"}}
    with pytest.raises(ConfigError, match=r"method\.name: cltp has no classes of spans"):
        configure(values)
