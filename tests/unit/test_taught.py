"""What runs of the methods that learn from sources tell of their parts."""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.encoders import commit
from tests.recipes import MemoryDriver, SeveralSources
from tests.recipes import run_method as run
from xlt_ray.methods.lvm.mechanisms import em_mechanisms
from xlt_ray.methods.shared.learnt import Learnt, agreement, of_agreement, of_source_dev
from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.store.artifacts import Artifact, Store


def line(lines: Any, part: str) -> Mechanism:
    (found,) = [item for item in lines if item.part.startswith(part)]
    return found


def said(store: Store, name: str, labels: dict[str, list[int]]) -> Artifact:
    columns = {
        "id": pa.array(labels, pa.string()),
        "language": ["yy" if row == "z" else "xx" for row in labels],
        "labels": pa.array(labels.values(), pa.list_(pa.int16())),
    }
    return commit(store, "annotation", name, {"p0": pa.table(columns)})


def trained(store: Store, name: str, history: list[dict[str, Any]]) -> Model:
    attempt = store.attempt("model", name)
    return Model(store.commit(attempt, {"info": {"history": history}, "seconds": 0.0}))


def test_agreement_is_counted_in_one_language_whatever_the_order(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    one = said(store, "one", {"a": [0, 1], "b": [0], "z": [2]})
    two = said(store, "two", {"z": [2], "b": [0], "a": [0, 2]})
    table, facts = agreement(one, two, language="xx", num_classes=3)
    assert table["said"].to_pylist() == [4, 1, 1]
    assert facts == {"items": 3, "unanimous": 2, "commonest": 4, "said": 6}
    first, second = of_agreement({"xx": facts}, 2)
    assert (first.figures, first.warning) == ({"xx": 4 / 6}, None)
    assert (second.figures, second.warning) == ({"xx": 2 / 3}, None)


def test_sources_without_a_difference_are_warned_of() -> None:
    facts = {"items": 3, "unanimous": 3, "commonest": 6, "said": 6}
    first, second = of_agreement({"xx": facts, "yy": {**facts, "commonest": 5}}, 2)
    assert first.warning == "the sources give all words of xx one label"
    assert second.warning == "the sources say the same of every word of xx, yy"
    assert len(of_agreement({"xx": facts}, 1)) == 1
    (planned,) = of_agreement({"xx": dict.fromkeys(facts)}, 1)
    assert math.isnan(planned.figures["xx"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hard_cat", "hard_vote", "kd_re", "mrt", "lvm", "dt"])
def test_every_run_tells_of_its_parts(name: str, tmp_path: Path) -> None:
    lines = run(name, SeveralSources(tmp_path)).mechanisms
    assert lines
    if name != "dt":
        shares = line(lines, "sources, share of words on which all agree").figures
        assert set(shares) == {"a", "b"}
        assert all(0 < share < 0.5 for share in shares.values())
    assert run("hard", MemoryDriver(tmp_path / "one")).mechanisms


def test_direct_transfer_tells_of_source_models_that_learned_nothing(tmp_path: Path) -> None:
    (found,) = run("dt", SeveralSources(tmp_path, scores=[0.7])).mechanisms
    assert (found.figures, found.warning) == ({"s": 0.7}, None)
    (found,) = run("dt", SeveralSources(tmp_path / "0", scores=[0.0])).mechanisms
    assert found.warning == "the source model of s learned nothing"


def test_rounds_falls_and_matrices_of_em(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    own = {"own": {"sigma_moved": 0.002, "lambda": 0.0}, "source_dev": 0.5, "epoch": 1}
    models = [trained(store, str(number), [own]) for number in range(2)]
    facts = [
        {"J": 10.0, "J_before": None, "lambda": 1.0, "items": 8, "moved": 1},
        {"J": 6.0, "J_before": 8.0, "lambda": 0.5, "items": 8, "moved": 2},
        {"J": 9.0, "J_before": 6.6, "lambda": 0.0, "items": 8, "moved": 4},
    ]
    lines = em_mechanisms({"xx": Learnt(models[-1], tuple(models), facts)}, 3)
    rounds = line(lines, "EM, rounds")
    assert rounds.figures == {"xx": 2}
    assert rounds.warning == "EM of xx ended before round 3"
    falls = line(lines, "J after an M-step")
    assert falls.figures == pytest.approx({"xx M-step 1": 0.8, "xx M-step 2": 1.1})
    assert falls.warning == "J did not fall in xx M-step 2"
    assert line(lines, "last E-step").figures == {"xx": 0.5}
    sigma = line(lines, "sigma")
    assert sigma.figures == {"xx": 0.002}
    assert sigma.warning is not None
    assert "raise method.matrix_lr" in sigma.warning


def test_both_scores_on_source_dev_are_told(tmp_path: Path) -> None:
    history = [{"source_dev": score, "epoch": n} for n, score in enumerate((0.4, 0.7, 0.6))]
    parts = [trained(Store(str(tmp_path)), str(n), [entry]) for n, entry in enumerate(history)]
    once = trained(Store(str(tmp_path)), "once", history)
    for found in (Learnt(parts[-1], tuple(parts)), Learnt.at_once(once)):
        line = of_source_dev({"xx": found}, "last")
        assert line.figures == {"xx best": 0.7, "xx last": 0.6}
        assert "the last is kept" in line.part


def test_em_at_work_warns_of_nothing(tmp_path: Path) -> None:
    entry = {"own": {"sigma_moved": 0.2, "lambda": 0.0}, "source_dev": 0.5, "epoch": 1}
    model = trained(Store(str(tmp_path)), "m", [entry])
    facts = [{"J": 10.0, "J_before": None, "lambda": 1.0, "items": 8, "moved": 1}]
    lines = em_mechanisms({"xx": Learnt(model, (model,), facts)}, 1)
    assert [item.warning for item in lines] == [None] * 4
    assert em_mechanisms({"xx": Learnt.at_once(trained(Store(str(tmp_path)), "n", []))}, 3) == []
