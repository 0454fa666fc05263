"""Oracle counts by hand: recall of candidate sets, accuracy of selections; and their page."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from xlt_ray.commands import compare
from xlt_ray.commands.cli import Job
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.benchmarks.toy import LABELS
from xlt_ray.labels import LabelSet
from xlt_ray.methods.bl import BLJointConfig
from xlt_ray.methods.cltp.recipe import CLTPConfig
from xlt_ray.models.classifier import Output
from xlt_ray.ops.evidential import evidence
from xlt_ray.ops.set_measures import MEASURES, measured_sets
from xlt_ray.ops.uncertainty import dissonance
from xlt_ray.oracle import job as oracle_job
from xlt_ray.oracle.candidate_sets import COMPARED, MeasuredSets
from xlt_ray.oracle.job import sets_of
from xlt_ray.oracle.measures import (
    COUNTS,
    candidate_recall,
    judge,
    outside_of,
    picked_accuracy,
    picked_table,
    recall_table,
    shares_of,
    with_sums,
)
from xlt_ray.oracle.page import Findings, markdown
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact, Store

NER = LabelSet(LABELS["ner"])

GOLD = [
    # id, language, gold classes; class 0 is outside entities, -100 has no gold
    ("c", "xx", [0, 1, -100]),
    ("a", "xx", [2, 0]),
    ("b", "yy", [1]),
]
SETS = [
    # id, labels, sets, u of the sets
    ("a", [1, 0], [0b110, 0b001], [0.5, 0.1]),
    ("b", [1], [0b010], [0.3]),
    ("c", [0, 0, 2], [0b001, 0b001, 0b100], [0.1, 0.2, 0.0]),
]


def gold_table(rows: list[tuple[str, str, list[int]]] = GOLD) -> pa.Table:
    schema = pa.schema(
        [("id", pa.string()), ("language", pa.string()), ("labels", pa.list_(pa.int16()))]
    )
    names = schema.names
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema)


def sets_table(rows: list[Any] = SETS) -> pa.Table:
    """An annotation in which every measure says the same."""
    kinds = {"labels": pa.int16(), "candidates": pa.int64()}
    kinds |= {name: pa.int64() for name in COMPARED}
    kinds |= {f"u_{name}": pa.float32() for name in COMPARED}
    schema = pa.schema([("id", pa.string()), *((k, pa.list_(v)) for k, v in kinds.items())])
    records = []
    for name, labels, sets, u in rows:
        record: dict[str, Any] = {"id": name, "labels": labels, "candidates": sets}
        for measure in COMPARED:
            record |= {measure: sets, f"u_{measure}": u}
        records.append(record)
    return pa.Table.from_pylist(records, schema)


def recall_rows(
    sets: pa.Table, gold: pa.Table, *, outside: int | None = 0
) -> dict[tuple[Any, ...], list[int]]:
    columns = [name for name in sets.column_names if name not in ("id", "candidates")]
    table = recall_table(judge(sets, gold, columns), outside=outside)
    places = ("language", "part", "measure", "by", "at")
    return {
        tuple(row[name] for name in places): [row[name] for name in COUNTS]
        for row in table.to_pylist()
    }


def test_recall_by_hand() -> None:
    """Language xx in the order of u, ties by id: a1 (gold 0, set {0}), c0 (0, {0}), c1 (1, {0}),
    a0 (2, {1, 2}, label 1); c2 has no gold. Counts: items, contained, right, classes, several.

    Of four items the first ceil(4 x 10%) = 1 are taken, ceil(4 x 30%) = 2, ceil(4 x 60%) = 3 and
    ceil(4 x 80%) = 4.
    """
    rows = recall_rows(sets_table(), gold_table())
    for measure in COMPARED:
        curve = [rows["xx", "all", measure, "share", at] for at in range(10, 101, 10)]
        first, second = [1, 1, 1, 1, 0], [2, 2, 2, 2, 0]
        third, fourth = [3, 2, 2, 3, 0], [4, 3, 2, 5, 1]
        assert curve == [*[first] * 2, *[second] * 3, *[third] * 2, *[fourth] * 3]
        # Entity words of xx: c1, then a0.
        curve = [rows["xx", "entities", measure, "share", at] for at in (50, 60, 100)]
        assert curve == [[1, 0, 0, 1, 0], [2, 1, 0, 3, 1], [2, 1, 0, 3, 1]]
        assert rows["xx", "all", measure, "size", 1] == [3, 2, 2, 3, 0]
        assert rows["xx", "all", measure, "size", 2] == [1, 1, 0, 2, 1]
        assert rows["yy", "all", measure, "share", 10] == [1, 1, 1, 1, 0]
        assert rows["yy", "entities", measure, "size", 1] == [1, 1, 1, 1, 0]
        # Of xx a0 alone is predicted to be in an entity: its label is 1, and its gold 2.
        assert rows["xx", "predicted", measure, "share", 100] == [1, 1, 0, 2, 1]
    # 10 shares and the sizes 1 and 2 for two parts of xx; 10 shares and one size for the third
    # part and for yy.
    assert len(rows) == len(COMPARED) * (2 * (10 + 2) + 4 * (10 + 1))


def test_the_measures_are_counted_apart() -> None:
    """Entropy alone says {2} for the only item, whose gold is 2 and whose label is 1."""
    sets = sets_table([("b", [1], [0b011], [0.5])])
    column = pa.array([[0b100]], pa.list_(pa.int64()))
    sets = sets.set_column(sets.column_names.index("entropy"), "entropy", column)
    rows = recall_rows(sets, gold_table([("b", "yy", [2])]), outside=None)
    assert rows["yy", "all", "entropy", "share", 100] == [1, 1, 0, 1, 0]
    assert rows["yy", "all", "dissonance", "share", 100] == [1, 0, 0, 2, 1]
    assert {key[1] for key in rows} == {"all"}


def test_a_part_without_items_has_no_rows() -> None:
    """Of xx nothing has gold, and no word of yy is in an entity."""
    gold = gold_table([("a", "xx", [-100, -100]), ("b", "yy", [0])])
    found = {key[:2] for key in recall_rows(sets_table(), gold)}
    assert found == {("yy", "all"), ("yy", "predicted")}


def test_picked_by_hand() -> None:
    """Only a and b were selected: labels 1, 0 against gold 2, 0, and 1 against 1."""
    picked = sets_table(SETS[:2])
    table = picked_table(judge(picked, gold_table(), ["labels", "candidates"]), outside=0)
    rows = {(row["language"], row["part"]): row for row in table.to_pylist()}
    assert [rows["xx", "all"][name] for name in COUNTS] == [2, 2, 1, 3, 1]
    assert [rows["xx", "entities"][name] for name in COUNTS] == [1, 1, 0, 2, 1]
    assert [rows["yy", "all"][name] for name in COUNTS] == [1, 1, 1, 1, 0]
    assert [rows["yy", "entities"][name] for name in COUNTS] == [1, 1, 1, 1, 0]
    assert [rows["xx", "predicted"][name] for name in COUNTS] == [1, 1, 0, 2, 1]
    assert len(rows) == 6


def random_tables(seed: int, size: int) -> tuple[pa.Table, pa.Table]:
    """Sentences of 0 to 5 words and 7 classes with u of few values, so that there are ties."""
    draw = np.random.default_rng(seed)
    gold, sets = [], []
    for number in range(size):
        words = int(draw.integers(0, 6))
        gold.append((f"s{number}", "xyz"[number % 3], draw.choice([-100, *range(7)], words)))
        masks = draw.integers(1, 127, words)
        sets.append((f"s{number}", draw.integers(0, 7, words), masks, draw.integers(0, 4, words)))
    return sets_table(sets), gold_table(gold)


def test_the_order_of_rows_and_chunks_does_not_matter() -> None:
    sets, gold = random_tables(0, 60)
    want = recall_rows(sets, gold)
    order = np.random.default_rng(1).permutation(60)
    shuffled = sets.take(order)
    parts = pa.concat_tables([shuffled.slice(0, 17), shuffled.slice(17, 30), shuffled.slice(47)])
    assert recall_rows(parts, gold.take(order[::-1])) == want


def test_counts_are_consistent() -> None:
    """Sizes add up to the whole share; a part is not larger than all; shares never fall."""
    sets, gold = random_tables(2, 90)
    rows = {key: np.array(counts) for key, counts in recall_rows(sets, gold).items()}
    for (language, part, measure, by, at), counts in rows.items():
        whole = rows[language, part, measure, "share", 100]
        assert (counts <= whole).all()
        assert (whole <= rows[language, "all", measure, "share", 100]).all()
        if by == "size":
            assert counts[COUNTS.index("classes")] == at * counts[0]
        elif at > 10:
            assert (counts >= rows[language, part, measure, "share", at - 10]).all()
        sizes = [rows[key] for key in rows if key[:4] == (language, part, measure, "size")]
        assert np.array_equal(sum(sizes), whole)


def test_a_loop_counts_the_same() -> None:
    sets, gold = random_tables(3, 40)
    rows = recall_rows(sets, gold)
    by_id = {row["id"]: row for row in sets.to_pylist()}
    words = []
    for row in sorted(gold.to_pylist(), key=lambda row: row["id"]):
        found = by_id[row["id"]]
        columns = (row["labels"], found["labels"], found["entropy"], found["u_entropy"])
        items = zip(*columns, strict=True)
        words += [item for item in items if row["language"] == "y" and item[0] > 0]
    words.sort(key=lambda word: word[3])
    taken = words[: -(-len(words) * 7 // 10)]
    assert rows["y", "entities", "entropy", "share", 70] == [
        len(taken),
        sum(mask >> gold & 1 for gold, _, mask, _ in taken),
        sum(gold == label for gold, label, _, _ in taken),
        sum(mask.bit_count() for _, _, mask, _ in taken),
        sum(mask.bit_count() > 1 for _, _, mask, _ in taken),
    ]


@pytest.mark.parametrize("gold", [gold_table([]), gold_table([("elsewhere", "xx", [1])])])
def test_empty_tables(gold: pa.Table) -> None:
    assert recall_rows(sets_table(), gold) == {}
    assert recall_rows(sets_table([]), gold) == {}
    judged = judge(sets_table([]), gold, ["labels", "candidates"])
    table = picked_table(judged, outside=0)
    assert table.num_rows == 0
    assert table.schema.names == ["language", "part", *COUNTS]


def test_gold_of_another_length_is_a_fault() -> None:
    with pytest.raises(AssertionError, match="labels: not as many items as gold"):
        judge(sets_table(), gold_table([("b", "yy", [1, 0])]), ["labels"])


def test_sums_and_shares() -> None:
    counts = {"items": 4, "contained": 3, "right": 2, "classes": 5, "several": 1}
    rows = [
        {"language": "xx", "part": "all", **counts},
        {"language": "yy", "part": "all", **dict.fromkeys(counts, 1)},
        {"language": "yy", "part": "entities", **dict.fromkeys(counts, 7)},
    ]
    *same, every, entities = with_sums(rows)
    assert same == rows
    want = {"items": 5, "contained": 4, "right": 3, "classes": 6, "several": 2}
    assert every == {"language": "all", "part": "all", **want}
    assert entities == {**rows[2], "language": "all"}
    assert with_sums([]) == []
    assert shares_of(counts) == {
        "recall": 0.75, "noise": 0.25, "accuracy": 0.5, "several": 0.25, "mean_size": 1.25,
    }  # fmt: skip


def test_entities_are_what_bio_labels_have() -> None:
    assert outside_of(NER) == NER.names.index("O")
    assert outside_of(LabelSet(("entailment", "neutral"))) is None


def committed(store: Store, name: str, table: pa.Table) -> Artifact:
    attempt = store.attempt("test", name)
    attempt.write_table("rows.parquet", table)
    return store.commit(attempt, {"info": {}, "seconds": 0.0})


def test_derivations_read_artifacts(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    sets, gold = committed(store, "sets", sets_table()), committed(store, "gold", gold_table())
    table, facts = candidate_recall(sets, gold, outside=0)
    assert facts == {}
    columns = ["labels", *COMPARED, *(f"u_{name}" for name in COMPARED)]
    assert table.equals(recall_table(judge(sets_table(), gold_table(), columns), outside=0))
    table, facts = picked_accuracy(sets, gold, outside=None)
    assert facts == {}
    assert table["items"].to_pylist() == [4, 1]


def test_the_annotator_gives_the_sets_of_the_operation() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 8 * torch.randn(50, 7, generator=generator)
    output = Output(logits, torch.zeros(50, 0))
    context = TaskContext(NER, ("xx",))
    columns = MeasuredSets(2, 5, "linear").annotate(output, np.array([0, 20, 50]), context)
    assert columns.rows == {}
    assert columns.items["labels"].dtype == np.int16
    assert columns.items["labels"].tolist() == logits.argmax(dim=1).tolist()
    for measure in MEASURES:
        want = measured_sets(
            evidence(logits.double()), measure=measure, lam=2, tau=5, penalty="linear"
        )
        assert columns.items[measure].tolist() == want.mask_N.tolist()
        u = columns.items[f"u_{measure}"]
        assert u.dtype == np.float32
        assert u.tolist() == want.uncertainty_N.float().tolist()
    e_NC = evidence(logits.double())
    assert columns.items["one_class"].tolist() == [1 << label for label in e_NC.argmax(dim=1)]
    belief_NC = e_NC / (e_NC + 1).sum(dim=1, keepdim=True)
    assert columns.items["u_one_class"].tolist() == dissonance(belief_NC).float().tolist()


def test_the_annotator_takes_an_empty_shard() -> None:
    output = Output(torch.zeros(0, 7), torch.zeros(0, 4))
    columns = MeasuredSets(4, 10).annotate(output, np.array([0]), TaskContext(NER, ("xx",)))
    assert all(len(values) == 0 for values in columns.items.values())
    assert len(columns.items) == 1 + 2 * len(COMPARED)


def findings(**changes: Any) -> Findings:
    """Two seeds, two languages; one method with a round, one without."""
    counted = [
        {"language": "xx", "part": "all", "measure": "max_probability"},
        {"language": "yy", "part": "all", "measure": "max_probability"},
    ]
    recall, accuracy = [], []
    for seed, right in ((0, 2), (1, 4)):
        counts = {"items": 8, "contained": 6, "right": right, "classes": 12, "several": 4}
        cuts = [("share", 50), ("share", 100), ("size", 2)]
        rows = [{**row, "by": by, "at": at, **counts} for row in counted for by, at in cuts]
        place = {"row": "cltp", "seed": seed}
        recall += [{**place, "stage": "source", **row, **shares_of(row)} for row in with_sums(rows)]
        rows = with_sums({"language": name, "part": "all", **counts} for name in ("xx", "yy"))
        accuracy += [
            {**place, "round": 1, **row, **shares_of(row), "model": 0.75, "test": None}
            for row in rows
        ]
    values: dict[str, Any] = {
        "name": "oracle", "benchmark": "toy", "languages": ["xx", "yy"], "split": "dev",
        "seeds": [0, 1], "rows": ["bl_direct", "cltp"], "recall": recall, "accuracy": accuracy,
        "rule": {"row": "cltp", "lambda": 4.0, "tau": 10.0, "penalty": "power"},
    }  # fmt: skip
    return Findings(**values | changes)


def test_the_page_by_hand() -> None:
    """Of 16 items of both languages 12 sets hold gold; 4 and 8 labels are right, 37.5 % on average.

    24 classes are 1.5 per set; all of them are in the row of size 2, too.
    """
    page = markdown(findings())
    assert "toy, seeds 0, 1:" in page
    assert (
        "The source model of cltp on all of the text; lambda 4.0, tau 10.0, penalty power." in page
    )
    lines = page.splitlines()
    start = "| all items | max probability |"
    assert [line for line in lines if line.startswith(start)] == [
        f"{start} 75.00 | 37.50 | 50.00 | 1.50 |",
        f"{start} 75.00 | 75.00 |",
        f"{start} 75.00 | 75.00 |",
        f"{start} 2 | 16 | 75.00 | 37.50 |",
    ]
    assert "| part | measure | 50 % | 100 % |" in lines
    start = "| all items | cltp | 1 |"
    assert [line for line in lines if line.startswith(start)] == [
        f"{start} 16 | 37.50 | 75.00 | 25.00 | 50.00 | 1.50 | 75.00 | - |",
        f"{start} 37.50 | 37.50 |",
    ]
    assert "Without rounds of selection: bl_direct." in lines


def test_the_page_leaves_out_what_there_is_not() -> None:
    page = markdown(findings(rule=None, recall=[], rows=["cltp"]))
    assert "Candidate sets" not in page
    assert "Newly selected" in page
    assert "Without rounds" not in page
    page = markdown(findings(accuracy=[], seeds=[0]))
    assert "toy, seed 0:" in page
    assert "Newly selected" not in page
    assert "Without rounds of selection: bl_direct, cltp." in page


def test_a_size_that_one_seed_lacks_counts_as_none_there() -> None:
    """Size 3 for seed 0 alone: 16 items of one of two seeds are 8 on average."""
    rows = findings().recall
    more = [{**row, "at": 3} for row in rows if row["by"] == "size" and row["seed"] == 0]
    page = markdown(findings(recall=[*more, *rows]))
    sizes = re.findall(r"\| max probability \| (\d) \| (\S+) \|", page)
    assert sizes == [("2", "16"), ("3", "8")]


def test_a_language_without_items_has_a_dash() -> None:
    rows = [row for row in findings().accuracy if row["language"] != "xx"]
    assert "| all items | cltp | 1 | - | 37.50 |" in markdown(findings(accuracy=rows))


def test_findings_are_plain_values() -> None:
    record = findings().to_json()
    assert json.loads(json.dumps(record)) == record
    assert record["recall"][0]["recall"] == 0.75


def test_labels_without_sets_are_sets_of_one(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    plain = sets_table().select(["id", "labels"])
    sets, gold = committed(store, "sets", plain), committed(store, "gold", gold_table())
    table, _ = picked_accuracy(sets, gold, outside=None)
    rows = [[row[name] for name in COUNTS] for row in table.to_pylist()]
    assert rows == [[4, 2, 2, 4, 0], [1, 1, 1, 1, 0]]


def test_the_page_has_the_sets_of_the_last_round() -> None:
    rows = findings().recall
    last = [{**row, "stage": "last round, two-hot"} for row in rows]
    page = markdown(findings(recall=[*rows, *last]))
    titles = [line for line in page.splitlines() if line.startswith("## ")]
    assert titles == [
        "## Candidate sets by measure",
        "## Sets of two classes in the last round",
        "## Newly selected labels",
    ]


def test_a_method_that_makes_sets_has_a_rule() -> None:
    """By its own keys, whatever its name."""
    changed = CLTPConfig.model_validate({"lambda": 2, "tau": 5, "penalty": "linear"})
    assert sets_of(changed) == MeasuredSets(2, 5, "linear")
    assert sets_of(CLTPConfig(label="one_hot")) == MeasuredSets(4, 10, "power")
    assert sets_of(BLJointConfig()) is None


@pytest.mark.parametrize("job", [oracle_job.JOB, compare.JOB], ids=["oracle", "compare"])
def test_without_matplotlib_nothing_is_run(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    flags = [f"store.root={store}", "compare.methods=cltp", "benchmark.name=toy", "backbone=toy"]
    if job is compare.JOB:
        flags.append("compare.figure=true")
    config = job.configure({}, (), flags)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    for act in (job.run, job.dry_run):
        with pytest.raises(ConfigError, match=r"pip install 'xlt-ray\[plots\]'"):
            act(config)
    assert not store.exists()
