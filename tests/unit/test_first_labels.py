"""Rounds that labellers label: scores by hand, rows that cannot be chosen, the recipe."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.encoders import commit
from tests.recipes import MemoryDriver, ids
from tests.recipes import run_method as run
from xlt_ray.config.errors import ConfigError
from xlt_ray.methods.shared.first_labels import scored_votes, uncertain_votes
from xlt_ray.store.artifacts import Artifact, Store

NAMES = ["O", "B-X", "I-X", "B-Y"]
LOOPS = ("cltp", "sl_evi", "sl_leu", "sl_lou")
N = -100


def votes_of(store: Store, name: str, labels: list[list[int]], sure: float) -> Artifact:
    k, nothing = len(NAMES), [0.0] * len(NAMES)
    probs = [
        [nothing if x < 0 else [sure if c == x else (1 - sure) / (k - 1) for c in range(k)]
         for x in row]
        for row in labels
    ]  # fmt: skip
    table = pa.table({
        "id": [f"r{n}" for n in range(len(labels))],
        "language": ["a"] * len(labels),
        "labels": pa.array(labels, pa.list_(pa.int16())),
        "probs": pa.array(probs, pa.list_(pa.list_(pa.float32()))),
    })  # fmt: skip
    return commit(store, "annotation", name, {"part-000000": table})


def test_votes_are_as_uncertain_as_their_mean_probability() -> None:
    """Both for 1 at 0.8 and 0.6; one against one, the surer wins; one alone; nobody."""
    hard = np.array([[1, 1, N, N], [1, 0, 2, N]])
    soft = np.zeros((2, 4, 3))
    soft[0, :2, 1], soft[0, :2, 0], soft[0, :2, 2] = 0.8, 0.1, 0.1
    soft[1, 0], soft[1, 1], soft[1, 2] = [0.2, 0.6, 0.2], [0.6, 0.2, 0.2], [0.25, 0.25, 0.5]
    labels, scores = uncertain_votes(hard, soft)
    assert labels.tolist() == [1, 1, 2, N]
    assert scores[:3] == pytest.approx([0.3, 0.5, 0.5])


def test_rows_by_hand(tmp_path: Path) -> None:
    """Agreed; against each other; a word without votes; an orphan; no entity; taken before."""
    store = Store(str(tmp_path))
    anna = votes_of(store, "anna", [[1, 2], [1, 0], [1, N], [2, 0], [0, 0], [1]], 0.7)
    ben = votes_of(store, "ben", [[1, 2], [3, 0], [1, N], [2, 0], [0, 0], [1]], 0.4)
    taken = commit(store, "derived", "taken", {"rows": pa.table({"id": ["r5"]})})
    table, facts = scored_votes(anna, ben, taken, num_labellers=2, labels=NAMES, task="token")
    assert table["id"].to_pylist() == ["r0", "r1", "r2", "r3", "r4"]
    assert table["labels"].to_pylist() == [[1, 2], [1, 0], [1, 0], [2, 0], [0, 0]]
    assert table["candidates"].to_pylist()[0] == [2, 4]
    assert table["valid"].to_pylist() == [True, True, False, False, True]
    assert facts == {"whole": 4}
    scores = np.array(table["score"])
    assert scores[0] == pytest.approx(1 - 0.55)
    assert scores[1] == pytest.approx(1 - (0.7 + 0.2) / 2)
    assert np.isnan(scores[4])
    by_type = np.array(table["type_scores"].to_pylist())
    assert by_type[0][0] == pytest.approx(0.45)
    assert np.isnan(by_type[0][1])


class Labelled(MemoryDriver):
    labellers = ("anna", "ben")


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOPS)
def test_the_first_rounds_are_labelled_by_labellers(name: str, tmp_path: Path) -> None:
    driver = Labelled(tmp_path)
    outcome = run(name, driver, rounds=3, labelled_rounds=2, ratio=0.1)
    assert driver.titles("votes") == ["anna", "ben"] * 2
    assert driver.titles("annotate")[:1] == ["round 3"]
    first, second, *_ = outcome.rounds
    assert ids(first.picked)
    assert not ids(first.picked) & ids(second.picked)
    assert not ids(first.picked) & ids(second.scored)
    assert not ids(first.picked) & set(driver.call("annotate", "round 3").pool)
    part = driver.call("train", "round 1").parts[1].rows()
    wanted = {row["id"]: row["labels"] for row in first.scored.table().to_pylist()}
    assert all(row["labels"] == wanted[row["id"]] for row in part.to_pylist())


@pytest.mark.parametrize(
    ("labellers", "options", "message"),
    [
        ((), {"labelled_rounds": 1}, "labelled_rounds: no labeller; name one as"),
        (("anna",), {}, "labelled_rounds: 0, so anna would label nothing; 1: the first round"),
        (("anna",), {"labelled_rounds": 3, "rounds": 2}, "labelled_rounds: 3, but method.rounds"),
    ],
)
def test_what_does_not_fit_is_said(
    labellers: tuple[str, ...], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    driver = MemoryDriver(tmp_path)
    driver.labellers = labellers
    with pytest.raises(ConfigError, match=message):
        run("sl_evi", driver, **options)
