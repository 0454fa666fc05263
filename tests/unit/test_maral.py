"""The recipes of spans: which steps they ask for, with what, and what of it is reported."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

from tests.encoders import commit, tokenised
from tests.recipes import MemoryDriver, languages_of, run_method
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import Split
from xlt_ray.labels import LabelSet
from xlt_ray.methods.maral.baseline import BLSpansConfig
from xlt_ray.methods.maral.recipe import CODE, MARAL, MARALConfig, epochs_of, head_of
from xlt_ray.methods.maral.source_spans import (
    MOST_WORDS,
    count_spans,
    length_for,
)
from xlt_ray.methods.maral.spelling import count_written, written
from xlt_ray.methods.maral.student import MaralStudentLoss
from xlt_ray.methods.maral.teacher import (
    SpanCrossEntropy,
    SpanObjective,
    SpanProbabilities,
    TagSpans,
    even_weights,
    mean_of,
)
from xlt_ray.models.span_tagger import SpanHead
from xlt_ray.recipe.corpus import Corpus, Model
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.store.artifacts import Store

K = 3
"""O, X and Y."""


class SpanDriver(MemoryDriver):
    """Says three classes of every span; its gold is in files as the reader writes them."""

    def __init__(self, folder: Path, **options: Any):
        def talk(name: str, size: int) -> torch.Tensor:
            return torch.linspace(0, 1, size * K).view(size, K)

        super().__init__(folder, talk=talk, **options)
        labels = LabelSet(("O", "B-X", "I-X", "B-Y", "I-Y"))
        self.context = replace(self.context, labels=labels)

    def source(self, split: Split, *languages: str) -> Corpus:
        table = tokenised([[[1]] * 3] * 4, labels=[[1, 2, 0]] * 4)
        tokens = commit(self.store, "tokens", split, {"p0": table.drop_columns(["labels"])})
        gold = commit(self.store, "gold", split, {"gold-s-0": table.select(["id", "labels"])})
        return Corpus(tokens).labelled(gold)


@pytest.fixture
def driver(tmp_path: Path) -> SpanDriver:
    return SpanDriver(tmp_path)


def test_every_target_has_a_teacher_and_a_student(driver: SpanDriver) -> None:
    outcome = run_method("maral", driver)
    assert driver.titles("train") == ["a teacher", "a student", "b teacher", "b student"]
    for target in ("a", "b"):
        teacher, student = (driver.call("train", f"{target} {x}") for x in ("teacher", "student"))
        assert isinstance(teacher.objective, SpanCrossEntropy)
        assert isinstance(student.objective, MaralStudentLoss)
        assert teacher.start == student.start == driver.backbone
        for call in (teacher, student):
            assert call.paired is not None
            assert languages_of(call.paired) == {target}
        assert outcome.zero_shot_by_language[target].artifact == teacher.result
        assert outcome.by_language[target].artifact == student.result
        assert student.paired is not None
        (columns,) = student.paired.columns
        assert (columns.name, columns.columns) == ("teacher", ("q",))
    assert driver.titles("annotate") == ["a unlabelled", "b unlabelled"]


def test_priors_and_weights_are_counted(driver: SpanDriver) -> None:
    """Four sentences of three words, 6 spans each up to length 4: an X over two words in each."""
    run_method("maral", driver, source_weights=True)
    loss = driver.call("train", "a student").objective
    assert isinstance(loss, MaralStudentLoss)
    assert loss.source_prior == pytest.approx((20 / 24, 4 / 24, 0))
    assert sum(loss.target_prior) == pytest.approx(1)
    assert loss.source_weights == even_weights([20, 4, 0])
    assert even_weights([20, 4, 0])[2] == 1
    teacher = driver.call("train", "a teacher").objective
    assert isinstance(teacher, SpanCrossEntropy)
    assert teacher.weights == even_weights([20, 4, 0])


def test_one_model_for_all(driver: SpanDriver) -> None:
    outcome = run_method("maral", driver, joint=True)
    assert driver.titles("train") == ["teacher", "student"]
    assert outcome.by_language == {}
    assert outcome.final.artifact == driver.call("train", "student").result


def test_models_label_text_with_their_own_heads(driver: SpanDriver) -> None:
    outcome = run_method("maral", driver, w_mlm=0.1)
    text = driver.unlabelled()
    outcome.plain_labeller(driver, "before", text, outcome.zero_shot_by_language["a"])
    outcome.labeller(driver, "after", text, outcome.by_language["a"])
    before, after = (driver.call("annotate", x).annotator for x in ("before", "after"))
    assert before == TagSpans(SpanHead(masked_lm=True))
    assert after == TagSpans(SpanHead(scores="vmf", means=True, masked_lm=True))


def test_the_report_names_the_epoch_and_the_last_one(driver: SpanDriver) -> None:
    scores = enumerate((0.2, 0.5, 0.4), start=1)
    history = [{"epoch": epoch, "source_dev": score} for epoch, score in scores]
    model = driver._model("m", {"history": history, "chosen": 1})
    (note,) = epochs_of("sw", model)
    wanted = "source dev 50.00 in epoch 2 of 3, which is reported, and 40.00 in the last"
    assert note == f"sw student: {wanted}"
    assert epochs_of("", driver.backbone) == []
    assert run_method("maral", driver).notes == []


def test_without_guessing_the_teacher_sees_no_target_text(driver: SpanDriver) -> None:
    run_method("maral", driver, w_mlm=0, prune=True)
    teacher = driver.call("train", "a teacher")
    assert teacher.paired is None
    assert teacher.objective is not None
    assert teacher.objective.span_head == SpanHead()
    annotator = driver.call("annotate", "a unlabelled").annotator
    assert annotator == SpanProbabilities(SpanHead(), prune=True)


def test_spans_of_scripts_without_capitals_are_warned_of(driver: SpanDriver) -> None:
    """Words of b are like punctuation in three of four cases; without morphology nobody asks."""
    found = written({"plain": {"a": 0.25, "b": 0.75}})
    assert found.figures == {"a": 0.25, "b": 0.75}
    assert found.warning is not None
    assert found.warning.startswith("words of b are written as punctuation is")
    assert written({}).warning is None
    for morphology in (True, False):
        run_method("maral", driver, morphology=morphology)
        asked = "how words are written" in driver.titles("derive")
        assert asked == morphology
        driver.calls.clear()


def test_words_are_counted_by_how_they_are_written(tmp_path: Path) -> None:
    table = pa.table({
        "language": ["a", "b", "a"],
        "shapes": pa.array([[0, 2, 3], [0, 0], [1]], pa.list_(pa.int8())),
    })  # fmt: skip
    counts, facts = count_written(commit(Store(str(tmp_path)), "tokens", "t", {"p0": table}))
    assert facts == {"plain": {"a": 0.25, "b": 1.0}}
    assert counts.to_pylist() == [
        {"language": "a", "words": 4, "plain": 1}, {"language": "b", "words": 2, "plain": 2},
    ]  # fmt: skip


def test_tokens_can_be_hidden_in_some_steps_alone(driver: SpanDriver) -> None:
    run_method("maral", driver, mlm_every=4)
    for title in ("a teacher", "a student"):
        objective = driver.call("train", title).objective
        assert isinstance(objective, SpanObjective)
        assert objective.mlm_every == 4
    assert MARALConfig().mlm_every == BLSpansConfig().mlm_every == 1
    for kind, values in ((MARALConfig, {"w_mlm": 0}), (BLSpansConfig, {})):
        with pytest.raises(ValidationError, match="no token is hidden with w_mlm = 0, so only 1"):
            kind.model_validate({"mlm_every": 2, **values})
        with pytest.raises(ValidationError, match="greater than or equal to 1"):
            kind.model_validate({"mlm_every": 0, **values})


def test_the_baseline_is_one_model(driver: SpanDriver) -> None:
    outcome = run_method("bl_spans", driver)
    assert driver.titles("train") == ["source"]
    assert outcome.final == outcome.zero_shot
    outcome.labeller(driver, "test", driver.unlabelled(), outcome.final)
    assert driver.call("annotate", "test").annotator == TagSpans(SpanHead())
    assert BLSpansConfig().w_mlm == 0


def test_the_preset_of_the_code_and_what_a_user_sets_beside_it() -> None:
    paper, code = MARALConfig(), MARALConfig.model_validate({"preset": "code"})
    assert {name: getattr(code, name) for name in CODE} == CODE
    assert paper.target_exponent == 1
    assert (paper.kappa, paper.target_loss, paper.direction) == ("paper", "paper", "paper")
    mixed = MARALConfig.model_validate({"preset": "code", "kappa": "paper"})
    assert (mixed.kappa, mixed.target_exponent) == ("paper", 0.1)


def test_faiss_is_missed_before_anything_is_trained(
    driver: SpanDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConfigError, match="pip install faiss-cpu "):
        run_method("maral", driver)
    assert driver.titles("train") == []
    run_method("maral", driver, refinement="global")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha_start": 0.7, "alpha_end": 0.8}, "alpha_end: at most alpha_start = 0.7"),
        ({"epochs": 1}, "warmup: at most epochs = 1"),
        ({"temp": 0}, "greater than 0"),
        ({"temp": 1.1}, "less than or equal to 1"),
        ({"target_exponent": 1.5}, "less than or equal to 1"),
    ],
)
def test_keys_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MARALConfig.model_validate(options)


def test_counts_and_means_over_files(tmp_path: Path) -> None:
    """Of a language alone, and of nothing."""
    store = Store(str(tmp_path))
    driver = SpanDriver(tmp_path)
    text = driver.unlabelled()
    said = driver.annotate("said", text, driver.backbone, SpanProbabilities(SpanHead(max_len=1)))
    whole = mean_of(said, language=None)[1]["prior"]
    parts = [mean_of(said, language=name)[1]["prior"] for name in ("a", "b")]
    assert sum(whole) == pytest.approx(1)
    assert all(min(a, b) <= c <= max(a, b) for a, b, c in zip(*parts, whole, strict=True))
    assert mean_of(said, language="z")[1]["prior"] == []
    labels = ["O", "B-X", "I-X", "B-Y"]
    gold = {"gold-a-0": [[1, 2, -100]], "gold-b-0": [[3]], "other": [[3, 3]]}
    tables = {
        name: tokenised([[[1]] * len(rows[0])], labels=rows).select(["id", "labels"])
        for name, rows in gold.items()
    }
    found = count_spans(commit(store, "gold", "g", tables), labels=labels, max_len=2)
    assert found[1]["counts"] == [2, 1, 1]
    assert found[1]["max_len"] == 2
    assert found[1]["by_words"] == {"1": 1, "2": 1}
    assert found[0]["class"].to_pylist() == ["O", "X", "Y"]


def test_a_length_of_spans_can_be_chosen_by_the_source(tmp_path: Path) -> None:
    """Of 200 entities 150 have one word, 48 three, one five and one nine: three hold 99%."""
    assert length_for(np.bincount([1] * 150 + [3] * 48 + [5, 9])) == 3
    assert length_for(np.bincount([1] * 100 + [3] * 40 + [5] * 9 + [9] * 2)) == 9
    assert length_for(np.bincount([40] * 9)) == MOST_WORDS
    assert length_for(np.zeros(3, int)) == 4
    driver = SpanDriver(tmp_path)
    outcome = run_method("maral", driver, max_len=None)
    for verb, title in (
        ("train", "a teacher"),
        ("train", "a student"),
        ("annotate", "a unlabelled"),
    ):
        call = driver.call(verb, title)
        user = call.objective or call.annotator
        assert user is not None
        assert user.span_head is not None
        assert user.span_head.max_len == 2  # every entity of the gold has two words
    assert outcome.longest == 2
    assert run_method("bl_spans", SpanDriver(tmp_path / "b"), max_len=None).longest == 2


def test_moved_labels_behind_the_epoch_that_is_kept_do_not_count(tmp_path: Path) -> None:
    """The first of two epochs is kept, and labels are moved in the second."""
    driver = Recorded(tmp_path, 0.6, (1.0, 400, 0), (1.0, 600, 30))
    driver.chosen = 0
    moved = parts_of(driver)["moved labels among the target spans in losses"]
    assert moved.figures["a"] == 0
    assert "refinement made no difference" in (moved.warning or "")


def test_an_epoch_goes_through_the_source_or_the_target(driver: SpanDriver, tmp_path: Path) -> None:
    run_method("maral", driver)
    schedule = driver.call("train", "a student").schedule
    assert schedule is not None
    assert schedule.epoch_of == "parts"
    other = SpanDriver(tmp_path / "other")
    run_method("maral", other, epoch_of="target")
    schedules = [other.call("train", x).schedule for x in ("a teacher", "a student")]
    assert [x.epoch_of for x in schedules if x is not None] == ["parts", "paired"]


class Recorded(SpanDriver):
    """A driver whose models have a record of their epochs."""

    def __init__(self, folder: Path, dev: float, *epochs: tuple[float, float, float]):
        self.epochs, self.score = epochs, dev
        super().__init__(folder)

    chosen = -1
    """The entry of the history that is kept."""
    reliable = ([1.0] * 3, [0.9, 0.5, 0.3], [0.7, 0.6, 0.6], [0.0] * 3)
    """Share of the reliable spans of O and of two types, after each epoch."""

    def _model(self, name: str, info: Mapping[str, Any]) -> Model:
        keys = ("scored", "used", "moved_used")
        history = [
            {
                "epoch": 1,
                "source_dev": self.score,
                "own": {**dict(zip(keys, values, strict=True)), "reliable": reliable},
            }
            for values, reliable in zip(self.epochs, self.reliable, strict=False)
        ]
        known = {"source_dev": self.score, "history": history, "chosen": self.chosen % len(history)}
        return super()._model(name, {**info, **known})


def parts_of(driver: MemoryDriver, **options: Any) -> dict[str, Mechanism]:
    return {x.part.split(",")[0]: x for x in run_method("maral", driver, **options).mechanisms}


def test_a_run_says_how_far_its_parts_were_at_work(tmp_path: Path) -> None:
    """Three epochs: 30 of 1000 target spans in losses had a label that was moved."""
    epochs = (1.0, 400, 0), (1.0, 400, 0), (1.0, 200, 30)
    parts = parts_of(Recorded(tmp_path, 0.6, *epochs), morphology=False)
    assert parts["moved labels among the target spans in losses"].figures["a"] == 0.03
    assert parts["target spans that an epoch comes to"].figures == {"a": 1.0, "b": 1.0}
    assert parts["teachers"].figures == {"a": 0.6, "b": 0.6}
    assert parts["spans of up to 4 words"].figures == {"of at most that length": 1.0}
    assert {part.warning for part in parts.values()} == {None}


def test_the_student_alone_predicts_with_a_prior() -> None:
    method = MARAL(MARALConfig(predict_prior=True))
    assert method.head.prior
    assert not head_of(method.config).prior
    assert not MARAL(MARALConfig()).head.prior


FILTERED = "labels that the filter leaves out"


def test_a_run_says_what_its_filter_left_out(tmp_path: Path) -> None:
    """An epoch learns from what was reliable after the one before it."""
    epochs = [(1.0, 9, 1)] * 4
    found = parts_of(Recorded(tmp_path, 0.6, *epochs))[FILTERED]
    wanted = {"a O": 0.2, "a entities": 0.5, "b O": 0.2, "b entities": 0.5}
    assert found.figures == pytest.approx(wanted)
    assert found.warning is None
    for number, off in enumerate(({"filtering": False}, {"target": False})):
        assert FILTERED not in parts_of(Recorded(tmp_path / f"off{number}", 0.6, *epochs), **off)
    soon = Recorded(tmp_path / "c", 0.6, *epochs[:2])
    assert "left nothing out" in (parts_of(soon)[FILTERED].warning or "")


def test_parts_that_were_not_at_work_are_warned_of(tmp_path: Path) -> None:
    few = Recorded(tmp_path, 0.05, (0.07, 400, 0), (0.09, 600, 0))
    parts = parts_of(few, max_len=1)
    visits = parts["target spans that an epoch comes to"]
    assert visits.figures["a"] == pytest.approx(0.08)
    assert "method.epoch_of=target" in (visits.warning or "")
    assert "more target text than source" not in (visits.warning or ""), "which may not be so"
    moved = parts["moved labels among the target spans in losses"]
    assert "refinement made no difference" in (moved.warning or "")
    assert "a, b" in (moved.warning or "")
    assert "a, b learnt next to nothing" in (parts["teachers"].warning or "")
    assert "recall ends at 0%" in (parts["spans of up to 1 words"].warning or "")
    without = parts_of(Recorded(tmp_path / "b", 0.5, (1.0, 9, 0)), refinement="none")
    assert without["moved labels among the target spans in losses"].warning is None
