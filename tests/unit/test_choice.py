"""Rules that choose among the models of a loop, and what they stand on."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from tests.encoders import commit
from tests.recipes import MemoryDriver, SeveralSources, run_method
from xlt_ray.config.choice import chosen_by
from xlt_ray.config.errors import ConfigError
from xlt_ray.engine.average import MeanTask, weights_of, write_mean
from xlt_ray.engine.pool import Pool
from xlt_ray.engine.resources import Plan
from xlt_ray.methods import METHODS
from xlt_ray.methods.conlst.settings import CoNLSTConfig
from xlt_ray.methods.shared.agreement import agreement_of_models
from xlt_ray.methods.shared.choice import (
    AGREEMENT,
    Choice,
    ChoiceConfig,
    Chooser,
    choice_mechanisms,
    choice_notes,
    most_agreed,
)
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.methods.sl_leu import NoisyCrossEntropy
from xlt_ray.ops.model_agreement import mean_agreement, pair_counts
from xlt_ray.ops.weight_mean import mean_of_weights
from xlt_ray.recipe.averaging import MeanModel
from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.run.check import configure_run
from xlt_ray.run.dry_run import DryRun
from xlt_ray.run.session import run_recipe
from xlt_ray.run.steps import Step
from xlt_ray.store.artifacts import BASE, Artifact, Store
from xlt_ray.store.fingerprint import closure_of

CHOOSING = ("cltp", "sl_evi", "sl_leu", "sl_lou", "st", "conlst")


# -- the mean of weights -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_means_are_those_of_float64(dtype: torch.dtype) -> None:
    """NumPy's sums of the same numbers in double precision, rounded once."""
    generator = torch.Generator().manual_seed(4)
    tensors = [torch.randn(7, 5, generator=generator).to(dtype) for _ in range(3)]
    wide = [item.double().numpy() for item in tensors]
    wanted = torch.from_numpy((wide[0] + wide[1] + wide[2]) / 3).to(dtype)
    found = mean_of_weights(tensors)
    assert found.dtype == dtype
    assert torch.equal(found, wanted)


def test_a_mean_is_not_rounded_on_the_way() -> None:
    """In float32 1 + 2**-24 is 1 again, twice; in float64 the small ones are a step together."""
    one, small = torch.tensor([1.0]), torch.tensor([2.0**-24])
    found = mean_of_weights([one, small, small])
    assert torch.equal(found, torch.tensor([(1 + 2**-23) / 3]))
    assert not torch.equal(found, (one + small + small) / 3)


def test_the_mean_of_equal_tensors_is_the_tensor() -> None:
    tensor = torch.randn(9, generator=torch.Generator().manual_seed(1))
    assert torch.equal(mean_of_weights([tensor] * 4), tensor)
    assert mean_of_weights([tensor]) is tensor
    assert mean_of_weights([torch.zeros(0, 3)] * 2).shape == (0, 3)


def test_whole_numbers_have_no_mean() -> None:
    places = torch.arange(5)
    assert torch.equal(mean_of_weights([places, places.clone()]), places)
    with pytest.raises(ValueError, match=r"torch.int64 values differ"):
        mean_of_weights([places, places + 1])


def test_other_shapes_and_types_are_refused() -> None:
    with pytest.raises(ValueError, match=r"of different shapes: \(2,\), \(3,\)"):
        mean_of_weights([torch.zeros(2), torch.zeros(3)])
    with pytest.raises(ValueError, match=r"of different types: torch.float32, torch.int64"):
        mean_of_weights([torch.zeros(2), torch.zeros(2, dtype=torch.int64)])


def model_of(store: Store, name: str, seed: int, **more: Any) -> Artifact:
    """A model with a head, parts of an objective and over spans, and all that may lie beside."""
    generator = torch.Generator().manual_seed(seed)
    weights = {"encoder.weight": torch.randn(4, 3, generator=generator).half(),
               "classifier.weight": torch.randn(2, 4, generator=generator),
               "position_ids": torch.arange(4)}  # fmt: skip
    own = {"weight": torch.randn(1, 4, generator=generator)}
    files = {
        "model.safetensors": weights,
        "objective.safetensors": own,
        "spans.safetensors": {"own": own["weight"] + 1},
        "optimiser.safetensors": own,
        "snapshot-000000003-model.safetensors": weights,
    }
    files |= more.get("files", {})
    attempt, place = store.attempt("model", name), Path(store.root) / f"{name}.made"
    for file, tensors in files.items():
        if tensors is not None:
            save_file(tensors, place, metadata={"format": "pt"})
            attempt.write(file, place.read_bytes())
    attempt.write("config.json", f'{{"of": "{name}"}}'.encode())
    attempt.write("spans.json", b"{}")
    attempt.write("tokenizer.json", b"{}")
    attempt.write_table("findings-000.parquet", pa.table({"id": ["x"]}))
    return store.commit(attempt, {"info": {"rows": 3, **more.get("info", {})}, "seconds": 0.0})


def mean(store: Store, *models: Artifact) -> Artifact:
    task = MeanTask(models=models).into(store.attempt("mean", "mean"))
    return store.commit(task.out, {"info": write_mean(task), "seconds": 0.0})


def test_the_mean_of_models_has_the_layout_of_the_first(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    models = [model_of(store, name, seed) for seed, name in enumerate("abc")]
    found = mean(store, *models)
    weights = ["model.safetensors", "objective.safetensors", "spans.safetensors"]
    assert found.names == sorted(["config.json", *weights, "spans.json", "tokenizer.json"])
    assert found.json("config.json") == {"of": "a"}
    assert found.info == {"models": 3, "tensors": 5}
    for file in weights:
        parts = [load_file(model.local() / file) for model in models]
        for name, value in load_file(found.local() / file).items():
            assert value.dtype == parts[0][name].dtype
            wide = np.mean([part[name].double().numpy() for part in parts], axis=0)
            assert torch.equal(value, torch.from_numpy(wide).to(value.dtype)), name
    assert weights_of(models[0]) == weights
    with (found.local() / "model.safetensors").open("rb") as file:
        assert b'"format":"pt"' in file.read(200), "as transformers wants it"


def test_models_of_other_architectures_are_refused(tmp_path: Path) -> None:
    """The message says which file and which weight."""
    store = Store(str(tmp_path))
    first = model_of(store, "first", 1)
    wide = {"encoder.weight": torch.zeros(4, 9).half(), "classifier.weight": torch.zeros(2, 4),
            "position_ids": torch.arange(4)}  # fmt: skip
    less = {"encoder.weight": torch.zeros(4, 3).half()}
    with pytest.raises(ValueError, match=r"model.safetensors, encoder.weight: of different shapes"):
        mean(store, first, model_of(store, "wide", 2, files={"model.safetensors": wide}))
    with pytest.raises(ValueError, match=r"not all models have classifier.weight, position_ids"):
        mean(store, first, model_of(store, "less", 2, files={"model.safetensors": less}))
    with pytest.raises(ValueError, match=r"model/bare has weights in model.safetensors, spans"):
        mean(store, first, model_of(store, "bare", 2, files={"objective.safetensors": None}))


def test_adapters_have_no_mean(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    adapted = model_of(store, "b", 2, info={BASE: {"kind": "backbone", "fingerprint": "x"}})
    with pytest.raises(ValueError, match=r"model/b is adapters: the mean of products"):
        mean(store, model_of(store, "a", 1), adapted)


def configured(method: dict[str, Any], **train: Any) -> Any:
    return configure_run(
        {
            "benchmark": {"name": "toy", "source": ["mira"], "targets": ["teska"]},
            "backbone": "toy", "method": method, "train": train,
        }
    )  # fmt: skip


def test_a_run_of_adapters_refuses_the_mean_before_it_begins() -> None:
    pytest.importorskip("peft")
    lora = {"lora": {"rank": 4}}
    with pytest.raises(ConfigError, match=r"method.select: average takes .* source_dev, agreement"):
        configured({"name": "cltp", "select": "average"}, **lora)
    assert configured({"name": "cltp", "select": "agreement"}, **lora).train.lora.rank == 4


# -- agreement -----------------------------------------------------------------------------------


def by_hand(labels: Any, outside: int | None) -> list[float]:
    """Pair by pair and item by item."""
    shares = []
    for i, one in enumerate(labels):
        own = []
        for j, other in enumerate(labels):
            if i != j:
                pairs = [(a, b) for a, b in zip(one, other, strict=True)
                         if outside is None or a != outside or b != outside]  # fmt: skip
                own.append(sum(a == b for a, b in pairs) / len(pairs) if pairs else 0.0)
        shares.append(sum(own) / len(own) if own else 0.0)
    return shares


@pytest.mark.parametrize("outside", [None, 0, 2])
@pytest.mark.parametrize("models", [1, 2, 5])
def test_agreement_is_that_counted_by_hand(models: int, outside: int | None) -> None:
    labels = np.random.default_rng(models).integers(0, 4, (models, 60)).astype(np.int16)
    same, counted = pair_counts(labels, outside)
    np.testing.assert_array_equal(same, same.T)
    np.testing.assert_array_equal(counted, counted.T)
    np.testing.assert_allclose(
        mean_agreement(same, counted), by_hand(labels, outside), rtol=0, atol=1e-15
    )


def test_words_that_both_call_outside_do_not_count() -> None:
    """Of six words 0 and 1 differ in one of two entities; 2 finds none, and agrees with nobody."""
    labels = np.array([[0, 0, 0, 0, 1, 2], [0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0]])
    same, counted = pair_counts(labels, 0)
    assert mean_agreement(same, counted).tolist() == [0.25, 0.25, 0.0]
    every = mean_agreement(*pair_counts(labels, None))
    assert every.tolist() == pytest.approx([(5 / 6 + 4 / 6) / 2] * 2 + [4 / 6])


def test_models_that_find_nothing_agree_on_nothing() -> None:
    nothing = np.zeros((3, 8), np.int16)
    assert mean_agreement(*pair_counts(nothing, 0)).tolist() == [0.0, 0.0, 0.0]
    assert mean_agreement(*pair_counts(nothing, None)).tolist() == [1.0, 1.0, 1.0]
    assert mean_agreement(*pair_counts(nothing[:, :0], None)).tolist() == [0.0, 0.0, 0.0]


def test_agreement_does_not_depend_on_the_order_of_models_or_items() -> None:
    draw = np.random.default_rng(3)
    labels = draw.integers(0, 3, (4, 50))
    found = mean_agreement(*pair_counts(labels, 0))
    order, items = draw.permutation(4), draw.permutation(50)
    again = mean_agreement(*pair_counts(labels[order][:, items], 0))
    np.testing.assert_allclose(again, found[order], rtol=0, atol=1e-15)


def said(store: Store, name: str, shards: list[dict[str, list[int]]]) -> Artifact:
    tables = {
        f"part-{number}": pa.table(
            {"id": list(rows), "labels": pa.array(list(rows.values()), pa.list_(pa.int16()))}
        )
        for number, rows in enumerate(shards)
    }
    return commit(store, "annotation", name, tables)


def test_annotations_are_compared_shard_by_shard_by_id(tmp_path: Path) -> None:
    """Rows may stand in another order, and a row that one model has lost counts for none."""
    store = Store(str(tmp_path))
    one = said(store, "one", [{"a": [1, 0], "b": [2]}, {"c": [0, 3]}])
    two = said(store, "two", [{"b": [2], "a": [1, 1]}, {"c": [0, 3]}])
    three = said(store, "three", [{"a": [0, 0]}, {"c": [0, 0]}])
    table, facts = agreement_of_models(one, two, three, outside=0)
    wanted = [[1, 0, 0, 3], [1, 1, 0, 3], [0, 0, 0, 0]]
    assert facts["items"] == 4
    assert facts["agreement"] == pytest.approx(by_hand(wanted, 0), abs=1e-15)
    assert table.to_pylist() == [
        {"model": 0, "other": 1, "same": 2, "counted": 3},
        {"model": 0, "other": 2, "same": 0, "counted": 2},
        {"model": 1, "other": 2, "same": 0, "counted": 3},
    ]


def test_the_earliest_of_the_most_agreed_is_chosen() -> None:
    assert most_agreed({"x": 0.5, "y": 0.7, "z": 0.7}) == "y"
    assert most_agreed({"x": 0.0, "y": 0.0}) == "x"


# -- the chooser ---------------------------------------------------------------------------------


def trained(driver: MemoryDriver, *scores: float) -> dict[str, Model]:
    """Models of a loop, with these scores on source dev."""
    return {
        f"round {number}": driver._model(f"r{number}", {"source_dev": score})
        for number, score in enumerate(scores, start=1)
    }


def chooser(driver: MemoryDriver, **keys: Any) -> Chooser:
    config = ChoiceConfig(name="x", **keys)
    return Chooser(driver, config, driver.unlabelled(), CrossEntropy(), "de ")


def test_source_dev_takes_the_best_and_asks_nothing(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    models = trained(driver, 0.5, 0.7, 0.7)
    choice = chooser(driver).among(models)
    assert (choice.model, choice.taken) == (models["round 2"], ("round 2",))
    assert driver.calls == []


@pytest.mark.parametrize(
    ("last", "taken"), [(None, (2, 3, 4)), (2, (3, 4)), (9, (1, 2, 3, 4)), (1, (4,))]
)
def test_average_takes_the_last(tmp_path: Path, last: int | None, taken: tuple[int, ...]) -> None:
    driver = MemoryDriver(tmp_path, scores=[0.6])
    models = trained(driver, 0.9, 0.7, 0.4, 0.5)
    choice = chooser(driver, select="average", select_last=last).among(models)
    assert choice.taken == tuple(f"round {number}" for number in taken)
    assert choice.on_source_dev == "round 1"
    if len(taken) == 1:
        assert choice.model == models["round 4"]
        assert driver.calls == []
        return
    (call,) = driver.calls
    assert call.title == f"de mean of round {taken[0]} to round 4"
    chosen = [models[f"round {number}"] for number in taken]
    assert call.start == MeanModel.of(chosen)
    assert isinstance(call.start, MeanModel)
    assert [call.start.artifact, *call.start.others] == [x.artifact for x in chosen]
    assert call.schedule == Schedule(1.0, 0, keep="last"), "it takes no step"
    assert call.dev is not None
    assert call.parts == (call.dev,)
    assert choice.model.source_dev == 0.6, "scored like any other model"


def test_agreement_asks_every_model_once(tmp_path: Path) -> None:
    """Also where the loop has grown, and of the whole text, without labels."""
    driver = SeveralSources(tmp_path)
    models = trained(driver, 0.5, 0.9, 0.4)
    rule = chooser(driver, select="agreement")
    choice = rule.among(models)
    shares = choice.agreement
    assert choice.taken == (max(shares, key=lambda name: shares[name]),)
    assert choice.model == models[choice.taken[0]]
    assert choice.on_source_dev == "round 2"
    titles = [f"de round {number} whole pool" for number in (1, 2, 3)]
    assert driver.titles("annotate") == titles
    assert all(len(driver.call("annotate", title).pool) == 50 for title in titles)
    assert driver.call("derive", "de agreement of 3").parameters == {"outside": 0}
    last = driver._model("last", {"source_dev": 0.1})
    rule.among({**models, "final pass": last})
    assert driver.titles("annotate") == [*titles, "de final pass whole pool"]
    assert driver.titles("derive") == ["de agreement of 3", "de agreement of 4"]


def test_agreement_of_texts_counts_all(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path, task="pair")
    chooser(driver, select="agreement").among(trained(driver, 0.5, 0.9))
    assert driver.call("derive", "de agreement of 2").parameters == {"outside": None}


def test_models_that_agree_alike_give_the_first(tmp_path: Path) -> None:
    """All say the same: `MemoryDriver` draws by the sentence alone."""
    driver = MemoryDriver(tmp_path)
    choice = chooser(driver, select="agreement").among(trained(driver, 0.1, 0.9, 0.5))
    assert (choice.taken, set(choice.agreement.values())) == (("round 1",), {1.0})
    (_, line) = choice_mechanisms({"": choice})
    assert line.part == AGREEMENT
    assert line.warning == "all models agree alike with the others, so the earliest was chosen"


def test_one_model_is_the_choice_of_every_rule(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    models = trained(driver, 0.3)
    for rule in ("source_dev", "average", "agreement"):
        assert chooser(driver, select=rule).among(models).model == models["round 1"]
    assert driver.calls == []


def test_a_run_says_what_each_rule_would_choose(tmp_path: Path) -> None:
    model = MemoryDriver(tmp_path).backbone
    names = ("round 1", "round 2", "final pass")
    agreed = Choice(model, names, ("round 2",), "final pass", dict.fromkeys(names, 0.5))
    mean = Choice(model, names, ("round 2", "final pass"), "round 1")
    numbers, _ = choice_mechanisms({"de": agreed})
    assert dict(numbers.figures) == {"de source dev": 3, "de agreement": 2, "de models": 3}
    (numbers,) = choice_mechanisms({"": mean})
    wanted = {"source dev": 1, "average from": 2, "average to": 3, "models": 3}
    assert dict(numbers.figures) == wanted
    assert choice_mechanisms({}) == []


# -- keys and words ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHOOSING)
def test_methods_that_choose_have_the_key(name: str) -> None:
    config = METHODS[name].Config
    assert issubclass(config, ChoiceConfig)
    assert config.model_validate({}).select == "source_dev"  # type: ignore[attr-defined]
    with pytest.raises(ValidationError, match="'source_dev', 'average' or 'agreement'"):
        config.model_validate({"select": "oracle"})
    with pytest.raises(ValidationError, match="select_last is of select=average"):
        config.model_validate({"select_last": 2})
    assert config.model_validate({"select": "average", "select_last": 2})


def test_the_words_of_a_rule() -> None:
    config = ChoiceConfig(name="x", select="average")
    words = "as the mean of the weights of the last 3 models of the loop"
    assert chosen_by(config.model_dump()) == words
    (note,) = choice_notes(config, has_rounds=True)
    assert words in note
    assert "(method.select=average)" in note
    assert choice_notes(config, has_rounds=False) == []
    assert choice_notes(ChoiceConfig(name="x"), has_rounds=True) == []
    assert chosen_by({"name": "kd"}) is None
    assert "last 5" in (chosen_by({"select": "average", "select_last": 5}) or "")


# -- what a rule is no part of -------------------------------------------------------------------

COMPUTING = (
    "xlt_ray.engine.train.processes", "xlt_ray.engine.annotate", "xlt_ray.methods.cltp.losses",
    "xlt_ray.methods.cltp.sets", "xlt_ray.methods.shared.evidential",
    "xlt_ray.methods.shared.selection", "xlt_ray.methods.shared.softmax",
    "xlt_ray.methods.conlst.mixup", "xlt_ray.methods.conlst.thresholding",
    "xlt_ray.methods.conlst.negative_learning",
)  # fmt: skip


@pytest.mark.parametrize("module", COMPUTING)
def test_rules_are_no_part_of_what_computes_the_rounds(module: str) -> None:
    """So fingerprints of the rounds are the same under each, and as they were without any."""
    parts = {"xlt_ray.methods.shared.choice", "xlt_ray.methods.shared.agreement",
             "xlt_ray.recipe.averaging", "xlt_ray.engine.average"}  # fmt: skip
    assert not parts & closure_of([module])


# -- the plan ------------------------------------------------------------------------------------

PLAN = Plan(Pool(0, 0, 1, 0.0), train_workers=0, train_cpus=1, train_gpus=0.0)


def planned_run(folder: Path, rule: str) -> tuple[DryRun, list[Step[Any]]]:
    """The dry run of CLTP on small files, and its steps."""
    for language in ("mira", "teska"):
        for split in ("train", "dev", "test"):
            path = folder / "data" / language / f"{split}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("Kari\tB-PER\nsmiler\tO\n\nOslo\tB-LOC\n\n")
    config = configure_run(
        {
            "benchmark": {"name": "wikiann", "root": str(folder / "data"), "source": ["mira"],
                          "targets": ["teska"]},
            "backbone": str(folder / "none"), "store": {"root": str(folder / "store")},
            "method": {"name": "cltp", "rounds": 2, "one_hot_rounds": 1, "select": rule},
        }
    )  # fmt: skip
    dry, seen = DryRun(Store(config.store.root), PLAN), list[Step[Any]]()
    look_up = dry.runner.run

    def noted(step: Step[Any], compute: Any, **more: Any) -> Artifact:
        seen.append(step)
        return look_up(step, compute, **more)

    dry.runner.run = noted  # type: ignore[method-assign]
    run_recipe(config, dry.driver(config))
    return dry, seen


def added(dry: DryRun, folder: Path) -> list[tuple[str, str]]:
    """Title and kind of what a rule adds to the plan of the default."""
    usual = [step["title"] for step in planned_run(folder, "source_dev")[0].steps]
    return [(x["title"], x["kind"]) for x in dry.steps if x["title"] not in usual]


@pytest.mark.slow
def test_the_dry_run_plans_what_a_rule_adds(tmp_path: Path) -> None:
    dry, _ = planned_run(tmp_path, "average")
    assert added(dry, tmp_path) == [
        ("mean of round 1 to round 2, weights", "mean"), ("mean of round 1 to round 2", "model"),
        ("mean of round 1 to final pass, weights", "mean"),
        ("mean of round 1 to final pass", "model"),
    ]  # fmt: skip
    notes = {x["title"]: x["note"] for x in dry.steps}
    assert notes["mean of round 1 to final pass, weights"] == "of 3 models"
    assert notes["mean of round 1 to final pass"] == "no step is taken, source dev is scored"
    dry, _ = planned_run(tmp_path, "agreement")
    whole = [(f"{name} whole pool annotation", "annotation")
             for name in ("round 1", "round 2", "final pass")]  # fmt: skip
    assert added(dry, tmp_path) == [
        *whole[:2], ("agreement of 2", "derived"), whole[2], ("agreement of 3", "derived")
    ]  # fmt: skip
    asked = [x for x in dry.steps if x["title"].endswith("whole pool annotation")]
    assert [x["annotated"] for x in asked] == [2, 2, 2], "all of the pool, each time"


def test_agreement_is_of_text_without_labels(tmp_path: Path) -> None:
    """By construction: a model, tokens and nothing else go in."""
    _, seen = planned_run(tmp_path, "agreement")
    asked = [step.task for step in seen if step.title.endswith("whole pool annotation")]
    for task in asked:
        assert task.corpus.labels is None
        assert sorted(item.kind for item in task.inputs) == ["model", "tokens"]
    compared = [step.task for step in seen if step.title.startswith("agreement of")]
    assert [[item.kind for item in task.inputs] for task in compared] == [
        ["annotation"] * 2, ["annotation"] * 3
    ]  # fmt: skip
    assert [task.arguments for task in compared] == [{"outside": 0}] * 2


# -- the recipes ---------------------------------------------------------------------------------

SHORT: dict[str, dict[str, Any]] = {
    "cltp": {"rounds": 3, "ratio": 0.1}, "sl_evi": {"rounds": 3, "ratio": 0.1},
    "sl_leu": {"rounds": 3, "ratio": 0.1, "samples": 4}, "sl_lou": {"rounds": 3, "ratio": 0.1},
    "st": {"iterations": 3, "share": 0.2, "budget_epochs": None},
    "conlst": {"iterations": 3, "t0": 0.3, "joint": True},
}  # fmt: skip


def run(name: str, folder: Path, rule: str | None, scores: Any = ()) -> tuple[Any, SeveralSources]:
    task = "pair" if name == "conlst" else "token"
    driver = SeveralSources(folder, task=task, scores=scores)
    keys = {} if rule is None else {"select": rule}
    return run_method(name, driver, **SHORT[name], **keys), driver


def verbs(driver: MemoryDriver) -> list[Any]:
    return [(x.verb, x.title, x.start and x.start.artifact, x.schedule) for x in driver.calls]


@pytest.mark.parametrize("name", CHOOSING)
def test_by_default_nothing_is_done_that_was_not(tmp_path: Path, name: str) -> None:
    """No step more, none with another start, and not a word more in the report."""
    outcome, driver = run(name, tmp_path / "a", None)
    again, other = run(name, tmp_path / "a", "source_dev")
    assert verbs(driver) == verbs(other)
    assert outcome.final == again.final
    titles = [call.title for call in driver.calls]
    assert not [x for x in titles if "mean" in x or "agreement" in x or "whole pool" in x]
    assert not [note for note in outcome.notes if "select" in note]
    parts = [item.part for item in outcome.mechanisms]
    assert not [part for part in parts if "rule" in part or "agreement" in part]


@pytest.mark.parametrize("name", CHOOSING)
def test_average_ends_with_a_mean(tmp_path: Path, name: str) -> None:
    outcome, driver = run(name, tmp_path, "average")
    call = next(x for x in reversed(driver.calls) if x.verb == "train")
    assert isinstance(call.start, MeanModel)
    assert outcome.final.artifact == call.result
    (note,) = (note for note in outcome.notes if "select" in note)
    assert "the last 3 models" in note
    lines = {x.part: x for x in outcome.mechanisms}
    figures = lines["model of the loop that each rule chooses, by its number"].figures
    assert [v for k, v in figures.items() if k.endswith("average to")] == [
        v for k, v in figures.items() if k.endswith("models")
    ]
    if name == "sl_leu":
        assert call.objective == NoisyCrossEntropy(4), "the unit that predicts u is kept"


@pytest.mark.parametrize("name", CHOOSING)
def test_agreement_ends_with_the_most_agreed(tmp_path: Path, name: str) -> None:
    outcome, driver = run(name, tmp_path, "agreement")
    (line,) = (x for x in outcome.mechanisms if x.part == AGREEMENT)
    best = max(line.figures, key=lambda key: line.figures[key]).removeprefix("all targets ")
    title = "final" if best == "final pass" else best
    assert outcome.final.artifact == driver.call("train", title).result
    pools = [x.pool for x in driver.calls if x.title.endswith("whole pool")]
    assert [len(pool) for pool in pools] == [50] * len(line.figures)


@pytest.mark.parametrize("rule", ["average", "agreement"])
def test_the_last_pass_begins_with_the_choice_among_the_rounds(tmp_path: Path, rule: str) -> None:
    outcome, driver = run("cltp", tmp_path, rule)
    start = driver.call("train", "final").start
    assert start is not None
    if rule == "average":
        assert start.artifact == driver.call("train", "mean of round 1 to round 3").result
        assert outcome.final.artifact.fingerprint == "mean-of-round-2-to-final-pass"
    else:
        found = driver.call("derive", "agreement of 3").result
        assert found is not None
        shares = list(found.info["agreement"])
        best = 1 + shares.index(max(shares))
        assert start.artifact == driver.call("train", f"round {best}").result


def test_each_target_has_its_own_choice(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path, task="pair")
    outcome = run_method("conlst", driver, iterations=2, t0=0.3, least_change=0, select="agreement")
    assert driver.titles("derive").count("a agreement of 2") == 1
    for target, size in (("a", 20), ("b", 30)):
        titles = [f"{target} iteration {number} whole pool" for number in (1, 2)]
        assert [len(driver.call("annotate", title).pool) for title in titles] == [size] * 2
        assert outcome.by_language[target].artifact in [
            driver.call("train", f"{target} iteration {number}").result for number in (1, 2)
        ]


def test_falls_of_source_dev_bring_back_no_model_under_another_rule(tmp_path: Path) -> None:
    """They end stage 2 still; the rule chooses among its iterations."""
    keys = {"iterations": 3, "t0": 0.3, "joint": True, "drops": 1, "least_change": 0}
    scores = [0.9, 0.8, 0.7, 0.6, 0.5]
    driver = SeveralSources(tmp_path, task="pair", scores=scores)
    outcome = run_method("conlst", driver, **keys, select="average")
    assert len(outcome.rounds) == 1
    assert outcome.final == outcome.rounds[0].model
    (line,) = (x for x in outcome.mechanisms if "was ended" in x.part)
    assert line.warning == "falls of source dev ended stage 2 of all targets"
    assert CoNLSTConfig.model_validate(keys).select == "source_dev"


def test_iterations_of_st_that_a_mean_is_of_count_as_learned_from(tmp_path: Path) -> None:
    outcome, _ = run("st", tmp_path, "average", [0.5, 0.9, 0.6, 0.7])
    shares, last = outcome.mechanisms[:2]
    assert dict(shares.figures) == pytest.approx({"a": 0.6, "b": 0.6})
    assert (dict(last.figures), last.warning) == ({"all targets": 3.0}, None)
