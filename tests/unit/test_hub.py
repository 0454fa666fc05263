"""Hub datasets, tested on small folders in the layouts that hub repositories have."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xlt_ray.data.benchmarks.registry import BENCHMARKS, sources
from xlt_ray.data.readers import hub
from xlt_ray.data.readers.hub import HubSource, resolve_revision
from xlt_ray.data.schema import BadRow, Example
from xlt_ray.labels import LabelSet

NER = LabelSet(("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
NLI = LabelSet(("entailment", "neutral", "contradiction"))
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKENS = [["Anna", "lacht"], ["Bonn"], ["Anna", "lacht"]]
TAGS = [[1, 0], [3], [0, 0]]


def metadata(features: Mapping[str, Any]) -> dict[str, str]:
    """What the datasets library stores in the files it writes."""
    return {"huggingface": json.dumps({"info": {"features": features}})}


def classes(names: Sequence[str]) -> dict[str, Any]:
    return {"names": list(names), "_type": "ClassLabel"}


def write(
    root: Path,
    columns: Mapping[str, Any],
    *,
    name: str = "de/validation-00000-of-00001.parquet",
    features: Mapping[str, Any] | None = None,
) -> Path:
    table = pa.table(dict(columns))
    if features is not None:
        table = table.replace_schema_metadata(metadata(features))
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, root / name)
    return root / name


def wikiann(root: Path, **columns: Any) -> Path:
    """The layout of unimelb-nlp/wikiann, with its names in another order than the label set."""
    text = {"_type": "Sequence", "feature": {"dtype": "string", "_type": "Value"}}
    names = classes(("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"))
    features = {"tokens": text, "ner_tags": {"_type": "Sequence", "feature": names}, "langs": text}
    content = {"tokens": TOKENS, "ner_tags": [[1, 0], [5], [0, 0]], "langs": [["de"] * 2] * 3}
    return write(root, content | columns, features=features)


def source(root: Path | None, **changes: Any) -> HubSource:
    item = HubSource(
        hub_id="unimelb-nlp/wikiann",
        config="de",
        language="de",
        split="dev",
        task="token",
        columns={"labels": "ner_tags"},
        aliases=("validation", "dev"),
        folder=None if root is None else str(root),
    )
    return replace(item, **changes)


def read(
    item: HubSource, labels: LabelSet | None = NER, limit: int | None = None
) -> tuple[list[Example], list[BadRow]]:
    rows = list(item.examples(labels, limit))
    good = [row for row in rows if isinstance(row, Example)]
    return good, [row for row in rows if isinstance(row, BadRow)]


def test_class_names_of_the_dataset_are_mapped_by_name(tmp_path: Path) -> None:
    wikiann(tmp_path)
    good, bad = read(source(tmp_path))
    assert not bad
    assert [list(row.tokens or ()) for row in good] == TOKENS
    assert [row.labels for row in good] == [(1, 0), (3,), (0, 0)]
    assert [(row.file, row.line) for row in good] == [
        ("de/validation-00000-of-00001.parquet", line) for line in (1, 2, 3)
    ]
    assert len({row.id for row in good}) == 3


@pytest.mark.parametrize("tags", [TAGS, [[NER.names[tag] for tag in row] for row in TAGS]])
@pytest.mark.parametrize("name", ["dev.parquet", "dev-00000-of-00001.parquet"])
def test_plain_integers_and_strings(tmp_path: Path, tags: list[Any], name: str) -> None:
    write(tmp_path, {"tokens": TOKENS, "ner_tags": tags}, name=f"de/{name}")
    good, bad = read(source(tmp_path))
    assert not bad
    assert [list(row.labels or ()) for row in good if isinstance(row.labels, tuple)] == TAGS


def test_pairs_and_sentences(tmp_path: Path) -> None:
    features = {name: {"dtype": "string", "_type": "Value"} for name in ("premise", "hypothesis")}
    features["label"] = classes(("contradiction", "neutral", "entailment"))
    content = {"premise": ["a", "b"], "hypothesis": ["c", "d"], "label": [0, 2]}
    write(tmp_path, content, features=features)
    columns = {"text": "premise", "text_pair": "hypothesis"}
    good, bad = read(source(tmp_path, task="pair", columns=columns), NLI)
    assert not bad
    assert [(row.text, row.text_pair, row.labels) for row in good] == [("a", "c", 2), ("b", "d", 0)]
    good, _ = read(source(tmp_path, task="sentence", columns={"text": "premise"}), NLI)
    assert [(row.text, row.text_pair, row.labels) for row in good] == [
        ("a", None, 2),
        ("b", None, 0),
    ]


def test_usual_names_of_fields_need_not_be_told(tmp_path: Path) -> None:
    wikiann(tmp_path)
    assert read(source(tmp_path, columns={})) == read(source(tmp_path))
    content = {"premise": ["a"], "hypothesis": ["c"], "label": ["neutral"]}
    write(tmp_path, content)
    (row,), _ = read(source(tmp_path, task="pair", columns={}), NLI)
    assert (row.text, row.text_pair, row.labels) == ("a", "c", 1)
    with pytest.raises(ValueError, match="no column 'text', there are: premise"):
        read(source(tmp_path, task="sentence", columns={}), NLI)


def test_plain_text_of_token_tasks_is_cut_into_words(tmp_path: Path) -> None:
    write(tmp_path, {"text": ["Ja, gut.", ""], "url": ["x", "y"]})
    good, bad = read(source(tmp_path, columns={}), None)
    assert [row.tokens for row in good] == [("Ja", ",", "gut", ".")]
    assert len(bad) == 1
    (row, *_), _ = read(source(tmp_path, columns={}, cut="blanks"), None)
    assert row.tokens == ("Ja,", "gut.")
    with pytest.raises(ValueError, match="no column 'tokens'"):
        read(source(tmp_path, columns={}))


def xnli(root: Path, *, split: str, labels: Sequence[int]) -> Path:
    """The layout of one language's configuration of facebook/xnli."""
    features = {name: {"dtype": "string", "_type": "Value"} for name in ("premise", "hypothesis")}
    content = {
        "premise": [f"Vordersatz {number}" for number in range(len(labels))],
        "hypothesis": [f"Behauptung {number}" for number in range(len(labels))],
        "label": pa.array(labels, pa.int64()),
    }
    return write(
        root, content, name=f"de/{split}-00000-of-00001.parquet",
        features={**features, "label": classes(NLI.names)},
    )  # fmt: skip


def test_xnli_as_on_the_hub(tmp_path: Path) -> None:
    """Plain strings and ClassLabels, of which -1 says that there is none."""
    xnli(tmp_path, split="validation", labels=[2, -1, 0])
    xnli(tmp_path, split="test", labels=[1])
    benchmark = BENCHMARKS["xnli"]
    (dev,) = sources(benchmark, root=str(tmp_path), languages=["de"], split="dev")
    assert isinstance(dev, HubSource)
    good, bad = read(dev, benchmark.label_set)
    assert [(row.text, row.text_pair, row.labels, row.line) for row in good] == [
        ("Vordersatz 0", "Behauptung 0", 2, 1),
        ("Vordersatz 2", "Behauptung 2", 0, 3),
    ]
    reason = "unknown label -1, allowed: 0 entailment, 1 neutral, 2 contradiction"
    name = "de/validation-00000-of-00001.parquet"
    assert bad == [BadRow(name, 2, reason)]
    plain, none = read(dev, None)
    assert not none
    assert [row.line for row in plain] == [1, 2, 3]
    (test,) = sources(benchmark, root=str(tmp_path), languages=["de"], split="test")
    assert isinstance(test, HubSource)
    good, bad = read(test, benchmark.label_set)
    assert ([row.labels for row in good], bad) == ([1], [])
    with pytest.raises(ValueError, match=r"no split 'train' in .*/de, files there: test-0"):
        sources(benchmark, root=str(tmp_path), languages=["de"], split="train")


def test_several_shards_are_one_split(tmp_path: Path) -> None:
    """Equal sentences in two shards get two ids, and a limit counts over both."""
    for shard in range(2):
        name = f"de/dev-0000{shard}-of-00002.parquet"
        write(tmp_path, {"tokens": [["a"], ["b"]], "ner_tags": [[0], [0]]}, name=name)
    good, _ = read(source(tmp_path))
    assert len({row.id for row in good}) == 4
    assert [(row.file[-22:-8], row.line) for row in good] == [
        ("00000-of-00002", 1),
        ("00000-of-00002", 2),
        ("00001-of-00002", 1),
        ("00001-of-00002", 2),
    ]
    assert read(source(tmp_path), limit=3)[0] == good[:3]
    assert read(source(tmp_path), limit=2)[0] == good[:2]
    assert read(source(tmp_path), limit=0) == ([], [])


def test_bad_rows_name_file_and_row(tmp_path: Path) -> None:
    """Good, a tag too few, no such class, no tags, empty token, no tokens, null, good."""
    tokens = [["a", "b"], ["c", "d"], ["e"], ["f"], ["g", ""], [], None, ["h"]]
    wikiann(
        tmp_path,
        tokens=pa.array(tokens, pa.list_(pa.string())),
        ner_tags=pa.array([[0, 0], [0], [-1], None, [0, 0], [], [0], [0]], pa.list_(pa.int64())),
        langs=pa.array([None] * 8, pa.list_(pa.string())),
    )
    good, bad = read(source(tmp_path))
    assert [row.line for row in good] == [1, 8]
    names = "0 O, 1 B-PER, 2 I-PER, 3 B-ORG, 4 I-ORG, 5 B-LOC, 6 I-LOC"
    assert [(row.line, row.reason) for row in bad] == [
        (2, "1 tags for 2 tokens, one per token is needed"),
        (3, f"unknown tag -1, allowed: {names} (token 1)"),
        (4, "labels None is not a list"),
        (5, "empty token '', it needs a character other than a space (token 2)"),
        (6, "no tokens, a sentence needs at least one"),
        (7, "tokens None is not a list of strings"),
    ]
    assert {row.file for row in bad} == {"de/validation-00000-of-00001.parquet"}
    plain, _ = read(source(tmp_path), None)
    assert [row.line for row in plain] == [1, 2, 3, 4, 8]
    assert [row.id for row in good] == [plain[0].id, plain[-1].id]


def test_classes_outside_the_label_set_are_named(tmp_path: Path) -> None:
    wikiann(tmp_path, ner_tags=[[3, 0], [5], [0, 0]])
    _, bad = read(source(tmp_path))
    reason = "unknown tag 'B-ORG', allowed: O, B-PER, I-PER, B-LOC, I-LOC (token 1)"
    assert [(row.line, row.reason) for row in bad] == [(1, reason)]


def test_scheme_and_types_are_those_of_the_source(tmp_path: Path) -> None:
    """The names of the dataset's classes are tags in IOB1: 2 is I-PER there, 3 B-ORG."""
    wikiann(tmp_path, ner_tags=[[2, 2], [3], [0, 0]])
    item = source(tmp_path, scheme="iob1", types={"ORG": "LOC"})
    good, bad = read(item)
    assert not bad
    assert [row.labels for row in good] == [(1, 2), (3,), (0, 0)]
    plain = source(tmp_path).identity()
    assert (plain["scheme"], plain["types"]) == ("bio", {})
    assert (item.identity()["scheme"], item.identity()["types"]) == ("iob1", {"ORG": "LOC"})


def test_undecodable_text_and_labels(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 spoil their own row only, and in a label not the text."""
    broken = pa.array([b"a", b"caf\xe9", b"b"])
    offsets = pa.array([0, 1, 2, 3], pa.int32())
    strings = pa.StringArray.from_buffers(3, *broken.buffers()[1:])
    column = pa.ListArray.from_arrays(offsets, strings)
    write(tmp_path, {"tokens": column, "ner_tags": [["O"]] * 3})
    good, bad = read(source(tmp_path))
    assert [row.line for row in good] == [1, 3]
    assert (bad[0].line, bad[0].reason) == (2, r"token b'caf\xe9' is not valid UTF-8 (token 1)")
    write(
        tmp_path, {"tokens": TOKENS, "text": ["x", "y", "z"], "ner_tags": column, "label": strings}
    )
    plain = read(source(tmp_path), None)
    assert [row.line for row in plain[0]] == [1, 2, 3]
    sentences = read(source(tmp_path, task="sentence"), LabelSet(("a", "b")))
    assert [row.line for row in sentences[0]] == [1, 3]
    assert sentences[1][0].reason == r"label b'caf\xe9' is not valid UTF-8"


def test_text_needs_no_label_column(tmp_path: Path) -> None:
    wikiann(tmp_path)
    expected, _ = read(source(tmp_path), None)
    write(tmp_path, {"tokens": TOKENS})
    assert read(source(tmp_path), None) == (expected, [])
    write(tmp_path, {"tokens": TOKENS, "ner_tags": ["noise"] * 3})
    assert read(source(tmp_path), None) == (expected, [])
    assert all(row.labels is None for row in expected)


def test_faults_of_whole_files(tmp_path: Path) -> None:
    path = wikiann(tmp_path)
    cases = [
        (
            source(tmp_path, columns={"labels": "gold"}),
            r"validation-.*: no column 'gold', there are: tokens, ner_t",
        ),
        (source(tmp_path, config="fr"), f"no language 'fr' in {tmp_path}, there are: de"),
        (
            source(tmp_path, split="test", aliases=()),
            r"no split 'test' in .*/de, files there: validation-.*; needed: test-",
        ),
        (source(None, folder="s3://bucket/data"), "s3://bucket/data: Parquet is read from local"),
    ]
    for item, message in cases:
        with pytest.raises(ValueError, match=message):
            read(item)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=f"{path}: cannot be read"):
        read(source(tmp_path))
    none = {"tokens": pa.array([], pa.list_(pa.string())), "ner_tags": pa.array([])}
    write(tmp_path, none)
    with pytest.raises(ValueError, match="has no rows in split 'dev'"):
        read(source(tmp_path))
    write(tmp_path, none, name="de/dev-00000-of-00002.parquet")
    write(tmp_path, {"tokens": [["a"]], "ner_tags": [[0]]}, name="de/dev-00001-of-00002.parquet")
    assert len(read(source(tmp_path, aliases=("dev",)))[0]) == 1


def test_identity_of_a_folder(tmp_path: Path) -> None:
    wikiann(tmp_path / "one")
    wikiann(tmp_path / "two")
    identity = source(tmp_path / "one").identity()
    assert identity == source(tmp_path / "two").identity()
    assert str(tmp_path) not in json.dumps(identity)
    wikiann(tmp_path / "two", ner_tags=[[0, 0], [0], [0, 0]])
    assert identity != source(tmp_path / "two").identity()
    assert source(tmp_path / "two").volume(1) == 500
    assert source(None).volume(1) == math.inf, "nobody knows before it is downloaded"


# The hub itself


def test_repository_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository as the hub has it: configurations in the card, several splits each."""
    card = "---\nconfigs:\n- config_name: de\n  data_files:\n"
    for split in ("validation", "test"):
        card += f"  - split: {split}\n    path: de/{split}-*\n"
    (tmp_path / "README.md").write_text(f"{card}---\n")
    path = wikiann(tmp_path)
    path.with_name("test-00000-of-00001.parquet").write_bytes(path.read_bytes())
    monkeypatch.setattr(hub, "_commit_of", lambda hub_id, revision: COMMIT)
    item = source(None, hub_id=str(tmp_path))
    good, bad = read(item)
    assert not bad
    assert [row.labels for row in good] == [(1, 0), (3,), (0, 0)]
    assert (good[1].file, good[1].line) == (f"{tmp_path}/de/validation", 2)
    assert [row.id for row in read(item, None, limit=2)[0]] == [row.id for row in good[:2]]
    with pytest.raises(ValueError, match=r"no split 'train' in .*, there are: validation, test"):
        read(replace(item, split="train", aliases=("train",)))
    with pytest.raises(ValueError, match=r"/xx: cannot be read .*'xx' not found"):
        read(replace(item, config="xx"))


def test_xnli_in_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One configuration per language, and one of another form for all of them together."""
    xnli(tmp_path, split="validation", labels=[0, 1, 2])
    xnli(tmp_path, split="test", labels=[1, -1])
    write(
        tmp_path,
        {"premise": [{"de": "a", "fr": "b"}], "label": [0]},
        name="all_languages/validation-00000-of-00001.parquet",
    )
    card = "---\nconfigs:\n"
    for config, splits in (("all_languages", ["validation"]), ("de", ["test", "validation"])):
        card += f"- config_name: {config}\n  data_files:\n"
        for split in splits:
            card += f"  - split: {split}\n    path: {config}/{split}-*\n"
    (tmp_path / "README.md").write_text(f"{card}---\n")
    monkeypatch.setattr(hub, "_commit_of", lambda hub_id, revision: COMMIT)
    benchmark = replace(BENCHMARKS["xnli"], hub_id=str(tmp_path), revision=COMMIT)
    (dev,) = sources(benchmark, root=None, languages=["de"], split="dev")
    (test,) = sources(benchmark, root=None, languages=["de"], split="test")
    assert isinstance(dev, HubSource)
    assert isinstance(test, HubSource)
    good, bad = read(dev, benchmark.label_set)
    assert [row.labels for row in good] == [0, 1, 2]
    assert not bad
    good, bad = read(test, benchmark.label_set)
    assert [(row.text, row.text_pair, row.labels) for row in good] == [
        ("Vordersatz 0", "Behauptung 0", 1)
    ]
    assert [(row.file, row.line) for row in bad] == [(f"{tmp_path}/de/test", 2)]


def test_a_full_commit_is_not_looked_up() -> None:
    identity = source(None, revision=COMMIT).identity()
    assert identity["revision"] == COMMIT
    assert identity["hub_id"] == "unimelb-nlp/wikiann"
    assert resolve_revision("no/such", COMMIT) == COMMIT


def test_main_is_resolved_to_the_commit_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Info:
        sha = COMMIT

    def dataset_info(self: Any, hub_id: str, *, revision: str, timeout: float) -> Info:
        asked.append((hub_id, revision))
        return Info()

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    hub._commit_of.cache_clear()
    try:
        for _ in range(2):
            assert source(None).identity()["revision"] == COMMIT
        source(None, revision="refs/convert/parquet").identity()
    finally:
        hub._commit_of.cache_clear()
    assert asked == [("unimelb-nlp/wikiann", ref) for ref in ("main", "refs/convert/parquet")]


@pytest.mark.parametrize("revision", [None, COMMIT])
def test_offline_says_what_to_do(revision: str | None) -> None:
    with pytest.raises(ValueError, match="the hub cannot be reached") as caught:
        read(source(None, revision=revision))
    message = str(caught.value)
    assert "\n" not in message
    assert f"unimelb-nlp/wikiann at revision {revision or 'main'!r}" in message
    for part in ("HF_HUB_OFFLINE", "benchmark.root", "hf download unimelb-nlp/wikiann"):
        assert part in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_unknown_dataset_and_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    for kind, message in (
        (RepositoryNotFoundError, "the hub has no such dataset"),
        (RevisionNotFoundError, "no such revision; mend benchmark.revision"),
    ):

        def refuse(*_: Any, kind: Any = kind, **__: Any) -> None:
            raise kind.__new__(kind)

        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse)
        with pytest.raises(ValueError, match=message):
            resolve_revision("no/such", None)


@pytest.mark.slow
def test_importing_the_reader_is_cheap() -> None:
    code = (
        "import sys, xlt_ray.data.benchmarks.registry\n"
        "print(set(sys.modules) & {'datasets', 'torch', 'ray'})"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ},
    )
    assert shown.stdout.strip() == "set()"
