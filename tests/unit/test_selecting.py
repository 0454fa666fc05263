"""Scores of sentences by their entities, selection per language, and earlier selections."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.encoders import commit
from xlt_ray.labels import LabelSet, bio_spans_of_ids, has_orphan_of_ids
from xlt_ray.methods.shared.row_scores import entity_scores
from xlt_ray.methods.shared.selection import (
    QuotaOf,
    Selection,
    gather_earlier,
    quotas,
    select_sentences,
)
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact, Store

FACTS = TaskContext(LabelSet(("O", "B-X", "I-X", "B-Y", "I-Y")), ("a", "b"))
O, BX, IX, BY, IY = range(5)  # noqa: E741
NONE = float("nan")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def scores_of(sentences: Sequence[Sequence[tuple[int, float]]]) -> tuple[np.ndarray, ...]:
    words = [word for sentence in sentences for word in sentence]
    labels = np.array([label for label, _ in words], np.int64)
    scores = np.array([score for _, score in words], np.float64)
    offsets = np.cumsum([0, *(len(sentence) for sentence in sentences)])
    return entity_scores(labels, scores, offsets, FACTS)


def test_a_type_scores_the_mean_of_its_entities_means() -> None:
    """X: (0.1 + 0.3) / 2 = 0.2 and 0.6, together 0.4; Y: 0.8; all three: (0.2 + 0.6 + 0.8) / 3."""
    sentence = [(BX, 0.1), (IX, 0.3), (O, 9.0), (BX, 0.6), (BY, 0.8)]
    by_type, overall, orphaned = scores_of([sentence])
    np.testing.assert_allclose(by_type, [[0.4, 0.8]])
    np.testing.assert_allclose(overall, [1.6 / 3])
    assert not orphaned.any()


def test_sentences_without_an_entity_and_with_an_orphan() -> None:
    by_type, overall, orphaned = scores_of(
        [[(O, 0.1)], [(BX, 0.2)], [(IY, 0.5)], [(BX, 0.1), (IY, 0.3)], [(BY, 0.1), (IY, 0.2)]]
    )
    assert orphaned.tolist() == [False, False, True, True, False]
    np.testing.assert_allclose(by_type[:2], [[NONE, NONE], [0.2, NONE]])
    np.testing.assert_allclose(overall[:2], [NONE, 0.2])


def test_a_tag_does_not_continue_the_sentence_before() -> None:
    by_type, _, orphaned = scores_of([[(BX, 0.2)], [(IX, 0.4)]])
    assert orphaned.tolist() == [False, True]
    np.testing.assert_allclose(by_type[:, 0], [0.2, 0.4])


labelled = st.tuples(st.integers(0, 4), st.floats(0, 1))


@pytest.mark.slow
@given(st.lists(st.lists(labelled, max_size=6), max_size=6))
def test_scores_equal_a_loop_over_sentences_and_entities(
    sentences: list[list[tuple[int, float]]],
) -> None:
    by_type, overall, orphaned = scores_of(sentences)
    for row, sentence in enumerate(sentences):
        tags = [label for label, _ in sentence]
        spans = bio_spans_of_ids(tags, FACTS.labels)
        means = [np.mean([score for _, score in sentence[x.start : x.end]]) for x in spans]
        for column, kind in enumerate(("X", "Y")):
            own = [mean for mean, x in zip(means, spans, strict=True) if x.type == kind]
            expected = np.mean(own) if own else NONE
            np.testing.assert_allclose(by_type[row, column], expected, atol=1e-12)
        np.testing.assert_allclose(overall[row], np.mean(means) if means else NONE, atol=1e-12)
        assert orphaned[row] == has_orphan_of_ids(tags, FACTS.labels)


def test_no_sentences_at_all() -> None:
    by_type, overall, orphaned = scores_of([])
    assert by_type.shape == (0, 2)
    assert len(overall) == len(orphaned) == 0


# -- selection ------------------------------------------------------------------------------------

Row = tuple[str, str, float, float, bool]
"""id, language, score of X, score of Y, valid."""


def scored(store: Store, name: str, rows: list[Row]) -> Artifact:
    """Annotations in two shards, in an order that is not that of the ids."""
    rows = [*rows[1::2], *rows[::2]]
    overall = []
    for _, _, x, y, _ in rows:
        known = [score for score in (x, y) if score == score]
        overall.append(sum(known) / len(known) if known else NONE)
    table = pa.table(
        {
            "id": pa.array([row[0] for row in rows], pa.string()),
            "language": pa.array([row[1] for row in rows], pa.string()),
            "type_scores": pa.array([row[2:4] for row in rows], pa.list_(pa.float64())),
            "score": pa.array(overall, pa.float64()),
            "valid": pa.array([row[4] for row in rows], pa.bool_()),
            "labels": pa.array([[BX]] * len(rows), pa.list_(pa.int16())),
            "candidates": pa.array([[2 ** (i % 2 + 1)] for i in range(len(rows))], SETS),
            "search": pa.array(["exact"] * len(rows), pa.string()),
            "gamma": pa.array([[0.1]] * len(rows), pa.list_(pa.float32())),
        }
    )
    return commit(store, "annotation", name, {"p0": table.slice(0, 2), "p1": table.slice(2)})


SETS = pa.list_(pa.int64())
ROWS: list[Row] = [
    ("a1", "a", 0.1, NONE, True),
    ("a2", "a", 0.2, 0.9, True),
    ("a3", "a", 0.3, NONE, True),
    ("a4", "a", NONE, 0.4, True),
    ("a5", "a", NONE, 0.5, True),
    ("a6", "a", NONE, NONE, True),
    ("a7", "a", 0.0, NONE, False),
    ("b1", "b", 0.7, NONE, True),
    ("b2", "b", 0.8, 0.1, True),
]


def select(
    artifact: Artifact, rule: Selection, ratio: float, **sizes: int
) -> tuple[list[str], dict[str, Any]]:
    table, facts = select_sentences(
        artifact,
        selection_rule=rule,
        ratio=ratio,
        pool_sizes=sizes or {"a": 10, "b": 10},
        quota_of="pool",
    )
    assert table.column_names == ["id", "language", "labels", "candidates"]
    return table["id"].to_pylist(), facts


@pytest.mark.parametrize(
    ("rule", "ratio", "expected"),
    [
        # 1 of each class: X has a1 and b1, Y has a4; b2 is the best of Y in b and second of X.
        ("per_class", 0.1, ["a1", "a4", "b1"]),
        # 2 of each: a2 is second of X but third of Y.
        ("per_class", 0.2, ["a1", "a4", "a5", "b1", "b2"]),
        ("per_class", 0.3, ["a1", "a2", "a3", "a4", "a5", "b1", "b2"]),
        # Over all entities: a1 0.1, a3 0.3, a4 0.4, a5 0.5, a2 0.55; b2 0.45, b1 0.7.
        ("top_n", 0.1, ["a1", "b2"]),
        ("top_n", 0.2, ["a1", "a3", "b1", "b2"]),
        # All but the 2 best of each class: X of a leaves a3, Y of a leaves a2, of which X is gone.
        ("repo_tail", 0.1, ["a3"]),
        ("repo_tail", 0.3, []),
    ],
)
def test_rules_by_hand(store: Store, rule: Selection, ratio: float, expected: list[str]) -> None:
    found, facts = select(scored(store, "s", ROWS), rule, ratio)
    assert found == expected
    assert facts["selected"] == dict(Counter(name[0] for name in expected))


def test_quotas_are_per_language(store: Store) -> None:
    """A share of the language's own first pool, and at least one."""
    artifact = scored(store, "s", ROWS)
    assert select(artifact, "top_n", 0.1, a=30, b=1)[0] == ["a1", "a3", "a4", "b2"]
    assert select(artifact, "top_n", 0.1, a=30)[0] == ["a1", "a3", "a4"]


def test_ties_go_to_the_lower_id(store: Store) -> None:
    rows: list[Row] = [(f"a{i}", "a", 0.5, NONE, True) for i in (5, 2, 9, 4)]
    assert select(scored(store, "s", rows), "per_class", 0.2)[0] == ["a2", "a4"]


NOTHING = {"selected": {}, "set_sizes": {}, "rows_with_sets": 0, "eligible": {}, "search": []}


@pytest.mark.parametrize("rule", ["per_class", "top_n", "repo_tail"])
def test_an_exhausted_pool_gives_nothing(store: Store, rule: Selection) -> None:
    """In one language, or in all of them."""
    found, facts = select(scored(store, "s", []), rule, 0.1)
    assert (found, facts) == ([], NOTHING)
    rows = [row for row in ROWS if row[1] == "a"]
    assert {name[0] for name in select(scored(store, "t", rows), rule, 0.1)[0]} == {"a"}


def test_nothing_valid_gives_nothing(store: Store) -> None:
    rows: list[Row] = [("a1", "a", 0.1, NONE, False), ("a2", "a", NONE, NONE, True)]
    assert select(scored(store, "s", rows), "per_class", 1.0)[0] == []


def test_labels_and_sets_are_copied(store: Store) -> None:
    artifact = scored(store, "s", ROWS)
    source = {row["id"]: row for row in artifact.table().to_pylist()}
    table, facts = select_sentences(
        artifact,
        selection_rule="top_n",
        ratio=0.2,
        pool_sizes={"a": 10, "b": 10},
        quota_of="pool",
    )
    for row in table.to_pylist():
        assert all(row[key] == source[row["id"]][key] for key in row)
    assert facts["set_sizes"] == {"1": 4}
    assert facts["search"] == ["exact"]


@pytest.mark.parametrize(
    ("rule", "of", "expected"),
    [
        # Of "pool": half of 10. Of "predicted": half of the rows that have the class, rounded down.
        ("per_class", "pool", [5, 5, 5]),
        ("per_class", "predicted", [2, 1, 1]),
        ("repo_tail", "predicted", [2, 1, 1]),
        ("top_n", "pool", [5, 5, 5]),
        ("top_n", "predicted", [3, 3, 3]),
    ],
)
def test_what_a_quota_is_a_share_of(rule: Selection, of: QuotaOf, expected: list[int]) -> None:
    nan = np.nan
    by_type = np.array([[1, nan, nan], [2, nan, nan], [3, 4, nan], [5, 6, nan], [7, nan, 8],
                        [nan, nan, 9], [nan, nan, nan]])  # fmt: skip
    valid = np.array([True, True, True, True, True, False, True])
    found = quotas(rule, by_type, valid, ratio=0.5, pool=10, of=of)
    assert found.tolist() == expected


def test_the_rows_that_could_have_been_selected_are_counted(store: Store) -> None:
    valid = sum(row[4] and not (np.isnan(row[2]) and np.isnan(row[3])) for row in ROWS)
    _, facts = select(scored(store, "s", ROWS), "top_n", 1.0)
    assert sum(facts["eligible"].values()) == valid


# -- earlier selections ---------------------------------------------------------------------------


def picked(store: Store, name: str, rows: dict[str, int]) -> Artifact:
    """A selection; the language is the first letter of the id, the label is given."""
    names = list(rows)
    table = pa.table(
        {
            "id": pa.array(names, pa.string()),
            "language": pa.array([item[0] for item in names], pa.string()),
            "labels": pa.array([[rows[item]] for item in names], pa.list_(pa.int16())),
            "candidates": pa.array([[1 << rows[item]] for item in names], SETS),
        }
    )
    return commit(store, "derived", name, {"rows": table})


def gather(*picks: Artifact, ratio: float | None, seed: int = 0) -> dict[str, int]:
    table, _ = gather_earlier(*picks, ratio=ratio, seed=seed)
    names = table["id"].to_pylist()
    assert names == sorted(names)
    return {
        name: labels[0] for name, labels in zip(names, table["labels"].to_pylist(), strict=True)
    }


def test_everything_with_its_last_label(store: Store) -> None:
    one = picked(store, "p1", {"a1": 1, "a2": 1})
    two = picked(store, "p2", {"a2": 2, "b1": 2})
    three = picked(store, "p3", {"b1": 3})
    assert gather(one, two, three, ratio=None) == {"a1": 1, "a2": 2, "b1": 3}
    assert gather(one, ratio=None) == {"a1": 1, "a2": 1}


def test_the_newest_selection_is_left_out_of_the_earlier(store: Store) -> None:
    one = picked(store, "p1", {"a1": 1, "a2": 1, "a3": 1})
    two = picked(store, "p2", {"a2": 2, "a4": 2})
    three = picked(store, "p3", {"a3": 3, "a5": 3, "a6": 3, "a7": 3})
    assert gather(one, two, three, ratio=1.0) == {"a1": 1, "a2": 2, "a4": 2}


@pytest.mark.parametrize(("ratio", "a", "b"), [(1.0, 3, 1), (0.5, 1, 0), (2.0, 6, 2), (9.0, 8, 2)])
def test_earlier_sentences_are_drawn_per_language(
    store: Store, ratio: float, a: int, b: int
) -> None:
    """8 earlier of a, 2 of b and 4 of c, for 3 new of a, 1 of b and none of c."""
    counts = {"a": 8, "b": 2, "c": 4}
    before = picked(store, "p1", {f"{x}{i}": 1 for x, n in counts.items() for i in range(n)})
    last = picked(store, "p2", {"aw": 2, "ax": 2, "ay": 2, "bz": 2})
    found = Counter(name[0] for name in gather(before, last, ratio=ratio))
    assert found == Counter({"a": a, "b": b})


def test_the_draw_depends_on_the_seed(store: Store) -> None:
    before = picked(store, "p1", {f"a{i:02d}": 1 for i in range(40)})
    last = picked(store, "p2", {f"az{i}": 2 for i in range(10)})
    draws = [gather(before, last, ratio=1.0, seed=seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1]
    assert draws[0].keys() != draws[2].keys()


def test_set_sizes_count_words(store: Store) -> None:
    one = picked(store, "p1", {"a1": 1})
    table = one.table().set_column(3, "candidates", pa.array([[0b11]], SETS))
    two = commit(store, "derived", "p2", {"rows": table})
    _, facts = gather_earlier(two, picked(store, "p3", {"a2": 1}), ratio=None, seed=0)
    assert facts == {"selected": {"a": 2}, "set_sizes": {"1": 1, "2": 1}, "rows_with_sets": 1}
