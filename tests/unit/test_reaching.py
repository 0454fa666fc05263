"""Rows that threshold rules choose, pass after pass, against NumPy."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.encoders import commit
from xlt_ray.methods.shared.reaching import of_languages, reaching_rows
from xlt_ray.ops import thresholds
from xlt_ray.store.artifacts import Artifact, Store

OPTIONS: dict[str, Any] = {
    "rule": "freematch", "t0": 0.9, "floor": None, "momentum": 0.5, "uniform_alignment": False,
    "num_classes": 3,
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def texts(store: Store, name: str, q_by_language: dict[str, np.ndarray]) -> Artifact:
    """Annotation of texts with given class probabilities, the last language first."""
    ids, languages, rows = [], [], []
    for language, q in reversed(q_by_language.items()):
        ids += [f"{language}{i:03d}" for i in reversed(range(len(q)))]
        languages += [language] * len(q)
        rows += list(q[::-1])
    q = np.array(rows).reshape(-1, 3)
    said = q.argmax(axis=1)
    confidence = np.where(np.arange(3) == said[:, None], q, np.nan)
    table = pa.table({
        "id": ids,
        "language": languages,
        "labels": pa.array([[x] for x in said.tolist()], pa.list_(pa.int16())),
        "confidence": pa.array(confidence.tolist(), pa.list_(pa.float64())),
        "mass": pa.array(q.tolist(), pa.list_(pa.float64())),
    })  # fmt: skip
    return commit(store, "annotation", name, {"p0": table})


def chosen(
    store: Store, name: str, scored: Artifact, *before: Artifact, **options: Any
) -> Artifact:
    keys: dict[str, Any] = {**OPTIONS, "languages": ["a", "b"], **options}
    table, facts = reaching_rows(scored, *before, **keys)
    attempt = store.attempt("derived", name)
    attempt.write_table("rows.parquet", table)
    return store.commit(attempt, {"info": {"rows": len(table), **facts}, "seconds": 0.0})


def drawn(seed: int, size: int, sharp: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(3, sharp), size)


def ids(artifact: Artifact) -> list[str]:
    return artifact.table(["id"])["id"].to_pylist()


def test_freematch_by_language_over_two_passes(store: Store) -> None:
    given = [{"a": drawn(n, 20), "b": drawn(n + 9, 30, 2.0)} for n in (1, 2)]
    first = chosen(store, "one", texts(store, "one", given[0]))
    second = chosen(store, "two", texts(store, "two", given[1]), first)
    for language in "ab":
        tau, p = 1 / 3, np.full(3, 1 / 3)
        for number, found in enumerate((first, second)):
            q = given[number][language]
            tau, p = (tau + q.max(axis=1).mean()) / 2, (p + q.mean(axis=0)) / 2
            limit = p / p.max() * tau
            kept = q.max(axis=1) >= limit[q.argmax(axis=1)]
            wanted = [f"{language}{i:03d}" for i in np.flatnonzero(kept)]
            assert [x for x in ids(found) if x[0] == language] == wanted
            assert 0 < len(wanted) < len(q)
            assert found.info["threshold"][language] == pytest.approx(limit.tolist(), rel=1e-12)
            assert found.info["reached"][language] == pytest.approx(kept.mean())
    assert second.info["eligible"] == {"a": 20, "b": 30}
    assert second.info["kept"] == len(ids(second)) / 50
    then, now = ({x["id"]: x["labels"] for x in f.table().to_pylist()} for f in (first, second))
    differ = sum(then.get(key) != now.get(key) for key in {*then, *now})
    assert second.info["changed"] == differ / 50
    assert "changed" not in first.info


def test_softmatch_takes_all_with_weights(store: Store) -> None:
    q = drawn(3, 25)
    found = chosen(store, "one", texts(store, "one", {"a": q}), rule="softmatch", languages=["a"])
    best = q.max(axis=1)
    mean, variance = best.mean(), best.var(ddof=1)
    wanted = np.where(best < mean, np.exp(-((best - mean) ** 2) / (2 * variance)), 1.0)
    weights = found.table().column("weight").to_pylist()
    assert [len(x) for x in weights] == [1] * 25
    np.testing.assert_allclose([x[0] for x in weights], wanted, rtol=1e-6)
    assert found.info["weight"]["a"] == pytest.approx(wanted.mean())
    assert found.info["selected"] == {"a": 25}


def test_uniform_alignment_looks_at_aligned_probabilities(store: Store) -> None:
    """With momentum 0 the averages are those of the pass; labels stay as they are."""
    q = np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.3, 0.6, 0.1]])
    scored = texts(store, "one", {"a": q})
    options = {"rule": "softmatch", "languages": ["a"], "momentum": 0.0}
    found = chosen(store, "one", scored, **options, uniform_alignment=True)
    aligned = q / q.mean(axis=0)
    best = (aligned / aligned.sum(axis=1, keepdims=True)).max(axis=1)
    short = np.minimum(best - best.mean(), 0)
    wanted = np.exp(-(short**2) / (2 * best.var(ddof=1)))
    got = [x[0] for x in found.table().column("weight").to_pylist()]
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert [x[0] for x in found.table()["labels"].to_pylist()] == [0, 0, 1]
    plain = chosen(store, "two", scored, **options)
    assert plain.table()["weight"].to_pylist()[2][0] < got[2], "class 1 is rare"


@pytest.mark.parametrize("rule", ["by_class", "fixed"])
def test_flexmatch_and_fixed_are_those_of_a_pass(store: Store, rule: Any) -> None:
    q = drawn(4, 60, 0.3)
    scored = texts(store, "one", {"a": q})
    found = chosen(store, "one", scored, rule=rule, languages=["a"], t0=0.8)
    wanted = thresholds.of_pass(
        torch.from_numpy(q.max(axis=1)),
        torch.from_numpy(q.argmax(axis=1)),
        3,
        0.8,
        is_fixed=rule == "fixed",
    )
    assert found.info["threshold"]["a"] == wanted.threshold_C.tolist()
    assert ids(found) == [f"a{i:03d}" for i in np.flatnonzero(wanted.kept_N.numpy())]


def test_rows_that_are_all_alike_are_kept_in_every_pass(store: Store) -> None:
    """tau nears their confidence, and is above it in the end by rounding: 0.1 x 0.406 + 0.9 x 0.406
    is more than 0.406."""
    scored = texts(store, "one", {"a": np.array([[0.406, 0.3, 0.294]] * 2)})
    options, found = {"languages": ["a"], "momentum": 0.1}, list[Artifact]()
    for number in range(25):
        found.append(chosen(store, str(number), scored, *found[-1:], **options))
    assert max(item.info["averages"]["a"]["tau"] for item in found) > 0.406
    assert {len(ids(item)) for item in found} == {2}


def test_a_floor_holds_for_freematch(store: Store) -> None:
    q = np.array([[1.0, 0, 0]] * 9 + [[0.0, 0.45, 0.55]])
    scored = texts(store, "one", {"a": q})
    options = {"languages": ["a"], "momentum": 0.0}
    low = chosen(store, "low", scored, **options)
    assert low.info["threshold"]["a"][2] < 0.1
    assert len(ids(low)) == 10
    high = chosen(store, "high", scored, **options, floor=0.6)
    assert high.info["threshold"]["a"][1:] == [0.6, 0.6]
    assert len(ids(high)) == 9, "0.55 is below it"


def words(store: Store, name: str = "words") -> Artifact:
    """Sentences of two types; the second is of both, the third of none, the last may not be."""
    nan = np.nan
    confidence = [[0.9, nan], [0.8, 0.3], [nan, nan], [nan, 0.7], [0.99, nan]]
    mass = [[0.9, 0.05], [0.5, 0.2], [0.0, 0.0], [0.1, 0.7], [0.9, 0.0]]
    table = pa.table({
        "id": [f"a{i}" for i in range(5)],
        "language": ["a"] * 5,
        "labels": pa.array([[1], [1, 3], [0], [3, 0], [1]], pa.list_(pa.int16())),
        "candidates": pa.array([[2], [2, 8], [1], [8, 1], [2]], pa.list_(pa.int64())),
        "confidence": pa.array(confidence, pa.list_(pa.float64())),
        "mass": pa.array(mass, pa.list_(pa.float64())),
        "valid": [True, True, True, True, False],
    })  # fmt: skip
    return commit(store, "annotation", name, {"p0": table})


def test_a_sentence_reaches_the_thresholds_of_all_its_types(store: Store) -> None:
    """Means of three sentences: 0.9, 0.55, 0.7; masses 0.5 and 0.95 / 3. tau = 43 / 60."""
    options = {"languages": ["a"], "momentum": 0.0, "num_classes": 4}
    found = chosen(store, "one", words(store), **options)
    tau, p = 2.15 / 3, np.array([0.5, 0.95 / 3])
    assert found.info["threshold"]["a"] == pytest.approx((p / p.max() * tau).tolist())
    assert ids(found) == ["a0", "a3"], "0.3 is below 0.45"
    assert found.table()["candidates"].to_pylist() == [[2], [8, 1]]
    assert found.info["eligible"] == {"a": 3}


def test_weights_of_a_sentence_are_those_of_its_words(store: Store) -> None:
    options = {"languages": ["a"], "rule": "softmatch", "momentum": 0.0, "num_classes": 4}
    found = chosen(store, "one", words(store), **options)
    weights = dict(zip(ids(found), found.table()["weight"].to_pylist(), strict=True))
    assert {name: len(x) for name, x in weights.items()} == {"a0": 1, "a1": 2, "a3": 2}
    assert weights["a1"][0] == weights["a1"][1] < weights["a3"][0] < weights["a0"][0] == 1.0


def test_a_language_keeps_its_averages_while_others_are_chosen(store: Store) -> None:
    given = {"a": drawn(1, 9), "b": drawn(2, 9)}
    first = chosen(store, "one", texts(store, "one", given), languages=["a"])
    assert set(first.info["averages"]) == {"a"}
    assert {x[0] for x in ids(first)} == {"a"}
    second = chosen(store, "two", texts(store, "two", given), first, languages=["b"])
    assert second.info["averages"]["a"] == first.info["averages"]["a"]
    fresh = chosen(store, "three", texts(store, "three", given), languages=["b"])
    assert second.info["averages"]["b"] == fresh.info["averages"]["b"]


@pytest.mark.parametrize("rule", ["by_class", "fixed", "freematch", "softmatch"])
def test_one_row_and_none(store: Store, rule: Any) -> None:
    one = texts(store, "one", {"a": np.array([[0.95, 0.03, 0.02]])})
    found = chosen(store, f"{rule} one", one, rule=rule)
    assert ids(found) == ["a000"]
    assert found.info["eligible"] == {"a": 1, "b": 0}
    assert "b" not in found.info["reached"]
    none = texts(store, "none", {"a": np.zeros((0, 3))})
    empty = chosen(store, f"{rule} none", none, found, rule=rule)
    assert ids(empty) == []
    assert empty.info["averages"]["a"] == found.info["averages"]["a"]
    assert empty.info["kept"] == 0.0


def test_rows_of_some_languages(store: Store) -> None:
    given = {"a": drawn(1, 9), "b": drawn(2, 9)}
    found = chosen(store, "one", texts(store, "one", given), rule="softmatch")
    table, facts = of_languages(found, languages=["b"])
    assert table["id"].to_pylist() == [f"b{i:03d}" for i in range(9)]
    assert facts["selected"] == {"b": 9}
    assert table.column_names == found.table().column_names
