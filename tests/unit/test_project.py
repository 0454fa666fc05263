"""Project steps: what becomes of each row, and why some are left out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.world import World
from xlt_ray.data.benchmarks.toy import LABELS, LANGUAGES, make_source
from xlt_ray.data.benchmarks.toy_translation import ready_rows, translations
from xlt_ray.data.projection.rejection import Rejected
from xlt_ray.data.schema import GOLD_SCHEMA, TEXT_SCHEMA, Example, Task
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.engine.gold_in_translation import JoinTask, run_join
from xlt_ray.engine.mark import MarkTask, run_mark
from xlt_ray.engine.pool import Pool
from xlt_ray.engine.project import Carried, ProjectTask, better, knows_language, run_project
from xlt_ray.engine.text_shards import shards_of
from xlt_ray.engine.translate import Route, TranslateTask, run_translate
from xlt_ray.labels import UNLABELLED, LabelSet, Span, bio_spans
from xlt_ray.recipe.corpus import Corpus
from xlt_ray.store.artifacts import Artifact, Store
from xlt_ray.store.step_task import StepTask

HERE = Pool(0, 0, 1, 0.0)
NER = LabelSet(LABELS["ner"])
OWN = LANGUAGES[0]
COMMON: dict[str, Any] = {"batch_tokens": 256, "arithmetic": Arithmetic()}


def committed(store: Store, task: StepTask, facts: Mapping[str, Any]) -> Artifact:
    return store.commit(task.out, {"info": dict(facts), "seconds": 0.0, "params": {}})


def put(
    store: Store, kind: str, name: str, tables: Mapping[str, pa.Table], **info: Any
) -> Artifact:
    attempt = store.attempt(kind, name)
    for file, table in tables.items():
        with attempt.stream(file) as stream:
            pq.write_table(table, stream, row_group_size=2)
    return store.commit(attempt, {"info": info, "seconds": 0.0})


def corpus_of(
    store: Store, rows: Sequence[Mapping[str, Any]], task: Task = "token"
) -> tuple[Artifact, Artifact]:
    """Text and gold of rows of one language, two in a shard; a row without labels has no gold."""
    text = pa.Table.from_pylist([dict(x) for x in rows], schema=TEXT_SCHEMA[task])
    gold = [{"id": x["id"], "language": x["language"], "labels": x["labels"]} for x in rows
            if x.get("labels") is not None]  # fmt: skip
    name, count = rows[0]["language"], len(rows)
    known = {"rows": count, "rows_by_language": {name: count}}
    labels = pa.Table.from_pylist(gold, schema=GOLD_SCHEMA[task])
    return (
        put(store, "text", "t", {f"text-{name}.parquet": text}, **known),
        put(store, "gold", "g", {f"gold-{name}.parquet": labels}, rows=len(gold)),
    )


def translated(
    store: Store, text: Artifact, known: Mapping[str, str], name: str, task: Task = "sentence"
) -> Artifact:
    """A text by ready translations, blank ones as they are."""
    table = pa.table({"text": list(known), "xx": list(known.values())})
    ready = put(store, "backbone", f"ready {name}", {f"{OWN}.parquet": table})
    route = Route(OWN, "xx", ready=ready, column="xx")
    made = TranslateTask(
        attempt=store.attempt("translation", name), text=text, task=task, routes={OWN: route},
        whole=False, codes={}, beams=1, max_new_tokens=8, keeps_blank=True, **COMMON,
    )  # fmt: skip
    return committed(store, made, run_translate(made, HERE, limit=0))


def running(
    store: Store, text: Artifact, gold: Artifact, *, brackets: bool, bare: bool = True
) -> Artifact:
    name = f"m{brackets}{bare}"
    task = MarkTask(attempt=store.attempt("marked", name), text=text, gold=gold, labels=NER,
                    brackets=brackets, bare=bare)  # fmt: skip
    return committed(store, task, run_mark(task))


def project(
    store: Store,
    text: Artifact,
    gold: Artifact,
    *,
    plain: Artifact | None = None,
    marked: Artifact | None = None,
    encoder: Artifact | None = None,
    **options: Any,
) -> Artifact:
    values: dict[str, Any] = {
        "task": "token", "labels": NER, "language": "xx", "layer": 1, "threshold": 1e-3,
        "cut": "marks", "max_length": 64, **COMMON, **options,
    }  # fmt: skip
    name = f"p{plain is not None}{marked is not None}{encoder is not None}"
    task = ProjectTask(attempt=store.attempt("projection", name), text=text, gold=gold, plain=plain,
                       marked=marked, encoder=encoder, **values)  # fmt: skip
    return committed(store, task, run_project(task, HERE, limit=0))


def row(number: int, words: str, tags: str) -> dict[str, Any]:
    labels = [NER.index(tag) for tag in tags.split()]
    return {"id": f"{OWN}-{number}", "language": OWN, "tokens": words.split(), "labels": labels}


ROWS = [
    row(0, "Asha lives in Mombasa .", "B-PER O O B-LOC O"),
    row(1, "She sleeps .", "O O O"),
    row(2, "Asha Juma", "B-PER I-PER"),
    row(3, "[ { ( < « ⟦ ⟨ Asha", "O O O O O O O B-PER"),
    row(4, "Nairobi is far", "B-LOC O O"),
    row(5, "Asha Juma Kisumu", "B-PER I-PER B-LOC"),
    row(6, "nothing here", "O O"),
]
IN_BRACKETS = {
    "[Asha] lives in {Mombasa} .": "katika {Mombasa} anaishi [Asha].",
    "She sleeps .": "Analala.",
    "[Asha Juma]": "Asha Juma",
    "[Nairobi] is far": "[Nairobi] ni mbali",
    "[Asha Juma] {Kisumu}": "[Asha Ju]ma{Kisumu}",
    "nothing here": " ",
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def test_every_row_is_there_or_there_is_a_reason(store: Store) -> None:
    unlabelled = {"id": "x", "language": OWN, "tokens": ["no", "gold"], "labels": None}
    text, gold = corpus_of(store, [*ROWS, unlabelled])
    known = {key: value for key, value in IN_BRACKETS.items() if "far" not in key}
    marked = translated(store, running(store, text, gold, brackets=True), known, "m")
    made = project(store, text, gold, marked=marked)
    assert made.info == {
        "rows": 2,
        "given": 7,
        "ways": {"markers": 2},
        "rejected": {"no translation": 1, "empty translation": 1, "no marker is free": 1,
                     "marker lost": 1, "two entities overlap": 1},
    }  # fmt: skip
    assert made.info["given"] == made.info["rows"] + sum(made.info["rejected"].values())
    found = made.table().to_pylist()
    assert [x["id"] for x in found] == [f">xx {OWN}-{n}" for n in range(7)]
    assert found[0]["tokens"] == ["katika", "Mombasa", "anaishi", "Asha", "."]
    assert [NER.names[x] for x in found[0]["labels"]] == ["O", "B-LOC", "O", "B-PER", "O"]
    assert found[1] == {
        "id": f">xx {OWN}-1", "language": "xx", "tokens": ["Analala", "."], "labels": [0, 0],
        "way": "markers", "score": None, "rejected": None,
    }  # fmt: skip
    assert found[2]["rejected"] == "marker lost"
    assert found[2]["tokens"] is None


def test_texts_and_pairs_take_their_label_along(store: Store) -> None:
    rows = [{"id": f"{OWN}-{n}", "language": OWN, "text": f"a{n}", "text_pair": f"b{n}",
             "labels": [n % 3]} for n in range(5)]  # fmt: skip
    text, gold = corpus_of(store, rows, "pair")
    known = {f"{x}{n}": f"{x.upper()}{n}" for x in "ab" for n in range(4)} | {"b3": ""}
    made = project(
        store, text, gold, plain=translated(store, text, known, "p", "pair"), task="pair",
        labels=LabelSet(("x", "y", "z")),
    )  # fmt: skip
    assert made.info == {"rows": 3, "given": 5, "ways": {"text": 3},
                         "rejected": {"no translation": 1, "empty translation": 1}}  # fmt: skip
    found = made.table().to_pylist()
    assert [(x["text"], x["text_pair"], x["labels"]) for x in found[:3]] == [
        (f"A{n}", f"B{n}", [n]) for n in range(3)
    ]
    assert found[3]["text"] is None


def test_files_of_a_shard_have_its_name_whatever_rows_it_has(store: Store) -> None:
    """The second and the last shard have no row in brackets."""
    text, gold = corpus_of(store, [*ROWS[:2], ROWS[1], *ROWS[3:]])
    names = [shard.text_name for shard in shards_of(text)]
    made = running(store, text, gold, brackets=True, bare=False)
    assert made.info["rows"] == 3
    assert [shard.text_name for shard in shards_of(made)] == names
    assert len(translated(store, made, IN_BRACKETS, "m").table()) == 3
    assert sorted(store.find("translation", "m").names) == names  # type: ignore[union-attr]


def test_a_killed_step_takes_over_the_shards_that_are_there(store: Store) -> None:
    text, gold = corpus_of(store, ROWS)
    marked = translated(store, running(store, text, gold, brackets=True), IN_BRACKETS, "m")
    first = project(store, text, gold, marked=marked)
    name = first.names[0]
    attempt = store.attempt("projection", "again")
    kept = first.shard(name).set_column(
        first.columns().index("tokens"), "tokens", pa.array([["kept"]] * 2)
    )
    attempt.write_table(name, kept)
    task = ProjectTask(
        attempt=attempt, text=text, gold=gold, plain=None, marked=marked, encoder=None,
        task="token", labels=NER, language="xx", layer=1, threshold=1e-3, cut="marks",
        max_length=64, **COMMON,
    )  # fmt: skip
    again = committed(store, task, run_project(task, HERE, limit=0))
    assert again.info == first.info
    assert again.table()["tokens"].to_pylist()[:3] == [["kept"], ["kept"], None]


# -- the two ways ---------------------------------------------------------------------------------

MARKS = Carried(("a", "b"), [1, 0], "markers", 0.4, [("a", 1)])
WORDS = Carried(("a", "b"), [0, 1], "alignment", 0.8, [("b", 1)])
SURE = WORDS._replace(score=0.95)
SAME = WORDS._replace(words=("b", "c", "a"), labels=[0, 0, 1], entities=[("a", 1)])


@pytest.mark.parametrize(
    ("by_mark", "by_words", "trusted", "found"),
    [
        (MARKS, WORDS, True, MARKS),
        (MARKS, SURE, True, SURE),
        (MARKS, SURE, False, MARKS),
        (MARKS, SAME, False, SAME),
        (Rejected("marker lost"), WORDS, False, WORDS),
        (MARKS, Rejected("not contiguous"), True, MARKS),
    ],
)
def test_brackets_count_unless_alignment_is_trusted_and_fits_much_better(
    by_mark: Carried | Rejected, by_words: Carried | Rejected, trusted: bool, found: Carried
) -> None:
    assert better(by_mark, by_words, has_marks=True, trusted=trusted) == found


@pytest.mark.parametrize(
    ("same", "other", "known"), [(18, 2, True), (17, 3, False), (19, 0, False), (0, 0, False)]
)
def test_an_encoder_is_trusted_where_it_mostly_agrees(same: int, other: int, known: bool) -> None:
    rest = [(MARKS, Rejected("entity unaligned")), (Rejected("marker lost"), WORDS)]
    rows = [(MARKS, SAME)] * same + [(MARKS, WORDS)] * other
    assert knows_language([*rows, *rest * 9]) is known


def test_the_reason_is_that_of_the_brackets_if_there_were_any() -> None:
    lost, none, apart = (Rejected(x) for x in ("marker lost", "no translation", "not contiguous"))
    assert better(lost, apart, has_marks=True, trusted=True) is lost
    assert better(none, apart, has_marks=True, trusted=True) is apart
    assert better(none, apart, has_marks=False, trusted=True) is apart


# -- the toy languages, whose truth is known ------------------------------------------------------


def toy(store: Store, language: str, task: str = "ner", rows: int = 60) -> tuple[Any, ...]:
    """Text, gold, ready translations, and the true words and tags by id."""
    source = make_source(task, OWN, "train", {"train": rows})
    into = make_source(task, language, "train", {"knobs": {language: {"loans": 0.0}}})
    labels = LabelSet(LABELS[task])
    own = [x for x in source.examples(labels) if isinstance(x, Example)]
    table = [{"id": x.id, "language": OWN, "tokens": list(x.tokens or ()),
              "labels": list(x.labels)} for x in own]  # type: ignore[arg-type]  # fmt: skip
    truth = {
        x.id: [(word.form, word.tag if task == "ner" else word.pos) for word in other]
        for x, (_, other) in zip(own, translations(source, into), strict=True)
    }
    return *corpus_of(store, table), dict(ready_rows(source, into)), truth


def f1(made: Artifact, truth: Mapping[str, Any]) -> float:
    """Entity F1 of projected rows; entities of a row that is left out are missed."""
    right = given = wanted = 0
    for x in made.table().to_pylist():
        true = truth[x["id"].split()[1]]
        gold = set(bio_spans([tag for _, tag in true]))
        found = set[Span]()
        if x["rejected"] is None:
            assert x["tokens"] == [word for word, _ in true]
            found = set(bio_spans([NER.names[label] for label in x["labels"]]))
        right, given, wanted = right + len(gold & found), given + len(found), wanted + len(gold)
    return 2 * right / (given + wanted)


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_brackets_of_a_true_translation_give_the_true_labels(store: Store, language: str) -> None:
    text, gold, known, truth = toy(store, language)
    marked = translated(store, running(store, text, gold, brackets=True), known, "m")
    made = project(store, text, gold, marked=marked)
    assert made.info["rows"] == made.info["given"] == 60
    assert f1(made, truth) >= 0.98


def encoder_of(store: Store, world: World) -> Artifact:
    attempt = store.attempt("backbone", "encoder")
    attempt.write_folder(world.backbone)
    return store.commit(attempt, {"info": {}, "seconds": 0.0})


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES[1:3])
def test_with_an_encoder_the_labels_are_true_as_well(
    store: Store, world: World, language: str
) -> None:
    """It is tiny, so that alignment alone is often wrong; it may not spoil what brackets say."""
    text, gold, known, truth = toy(store, language)
    plain = translated(store, running(store, text, gold, brackets=False), known, "p")
    bare = running(store, text, gold, brackets=True, bare=False)
    marked = translated(store, bare, known, "m")
    encoder = encoder_of(store, world)
    both = project(store, text, gold, plain=plain, marked=marked, encoder=encoder)
    assert both.info["given"] == both.info["rows"] + sum(both.info["rejected"].values())
    assert set(both.info["ways"]) == {"alignment", "markers"}
    assert 0.5 < both.info["score"] <= 1
    assert f1(both, truth) >= 0.98
    alone = project(store, text, gold, plain=plain, encoder=encoder)
    assert alone.info["ways"] == {"alignment": alone.info["rows"]}
    assert f1(alone, truth) > 0.5, "it knows something"


@pytest.mark.slow
def test_every_word_of_a_tagging_task_has_the_label_of_its_partner(
    store: Store, world: World
) -> None:
    text, gold, known, truth = toy(store, LANGUAGES[1], "tagging")
    labels = LabelSet(LABELS["tagging"])
    plain = translated(store, running(store, text, gold, brackets=False), known, "p")
    made = project(store, text, gold, plain=plain, encoder=encoder_of(store, world), labels=labels)
    assert made.info["rows"] > 0.9 * made.info["given"]
    right = wrong = unlabelled = 0
    for x in made.table().to_pylist():
        true = truth[x["id"].split()[1]]
        if x["rejected"] is None:
            for label, (_, tag) in zip(x["labels"], true, strict=True):
                unlabelled += label == UNLABELLED
                right += label != UNLABELLED and labels.names[label] == tag
                wrong += label != UNLABELLED and labels.names[label] != tag
    assert right > 9 * wrong
    assert unlabelled < right


# -- source gold with its translations ------------------------------------------------------------


def test_gold_and_translations_are_one_labelled_text(store: Store) -> None:
    """Rows without gold labels are no rows of it; a weight repeats translations alone."""
    unlabelled = {"id": "x", "language": OWN, "tokens": ["no", "gold"], "labels": None}
    text, gold = corpus_of(store, [*ROWS, unlabelled])
    marked = translated(store, running(store, text, gold, brackets=True), IN_BRACKETS, "m")
    made = project(store, text, gold, marked=marked)
    task = JoinTask(attempt=store.attempt("labelled", "j"), text=text, gold=gold,
                    projections={"xx": made}, task="token", weight=3)  # fmt: skip
    joined = committed(store, task, run_join(task))
    assert joined.info == {"rows": 16, "rows_by_language": {OWN: 7, "xx": 9},
                           "translated": {"xx": 9}}  # fmt: skip
    table = joined.table()
    ids = table["id"].to_pylist()
    assert len(set(ids)) == 16
    assert {id for id in ids if id.endswith("-4")} == {
        f"{OWN}-4", f">xx {OWN}-4", f">+1 >xx {OWN}-4", f">+2 >xx {OWN}-4",
    }  # fmt: skip
    assert sum(shard.language == "xx" for shard in shards_of(joined)) == 2
    both = replace(Corpus(joined).labelled(joined), spared=("xx", OWN))
    assert len(both.rows()) == 16
    kept = both.sample(0.5, seed=0).kept_ids()
    assert kept is not None
    assert sum(id.startswith(">") for id in kept.to_pylist()) == 4, "half, though xx is spared"
