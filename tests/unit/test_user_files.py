"""Files of the user's own: what is found in them, and what is read of them."""

import csv
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xlt_ray.commands import self_train
from xlt_ray.commands.recommend import recommend
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import FilesConfig
from xlt_ray.data.benchmarks.registry import benchmark_of, resolve_targets, sources
from xlt_ray.data.readers.base import Source
from xlt_ray.data.readers.globs import matching
from xlt_ray.data.readers.user_files import UserSource, found_in, labels_of, scheme_of, source_of
from xlt_ray.data.readers.words import word_places
from xlt_ray.data.schema import BadRow, Example
from xlt_ray.labels import LabelSet
from xlt_ray.run.check import configure_run

CONLL = "Anna\tB-PER\nlebt\tO\n\nin\tO\nUlm\tB-LOC\n\n"
PAIRS = [("Es regnet.", "Es ist nass.", "yes"), ("Er geht.", "Er steht.", "no")]
TEXTS = [("gut, sehr gut", "good"), ('sagt "nein"', "bad"), ("so\nso", "bad")]


def own_of(**keys: Any) -> FilesConfig:
    return FilesConfig.model_validate(keys)


def source(path: Path, split: str = "train", **keys: Any) -> UserSource:
    keys.setdefault("task", "token")
    return UserSource((str(path),), "de", split, **keys)


def read(item: Source, labels: LabelSet | None = None, limit: int | None = None) -> Any:
    rows = list(item.examples(labels, limit))
    good = [row for row in rows if isinstance(row, Example)]
    return good, [row for row in rows if isinstance(row, BadRow)]


# Files by pattern


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a.txt", ["a.txt"]),
        ("*.txt", ["a.txt", "b.txt"]),
        ("?.txt", ["a.txt", "b.txt"]),
        ("*/c.txt", ["x/c.txt"]),
        ("**/*.txt", ["a.txt", "b.txt", "x/c.txt", "x/y/d.txt"]),
        ("x/**", ["c.txt", "y/d.txt"]),
    ],
)
def test_patterns_name_files(tmp_path: Path, pattern: str, found: list[str]) -> None:
    for name in ("a.txt", "b.txt", "e.conll", "x/c.txt", "x/y/d.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    names = [file.name for file in matching(f"{tmp_path}/{pattern}", "files.paths.de.train")]
    assert names == found


def test_what_a_pattern_does_not_name_is_told(tmp_path: Path) -> None:
    key = "files.paths.de.train"
    with pytest.raises(ValueError, match=rf"{key}: {tmp_path}/no.txt is no file"):
        matching(f"{tmp_path}/no.txt", key)
    with pytest.raises(ValueError, match=r"\*.txt is no file"):
        matching(f"{tmp_path}/*.txt", key)
    with pytest.raises(ValueError, match=rf"is a folder, name its files: {tmp_path}/\*.txt"):
        matching(str(tmp_path), key)


def test_a_file_found_by_a_uri_can_be_named_by_what_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.conll").write_text(CONLL)
    for uri in (f"file://{tmp_path}/**/*.conll", f"file://{tmp_path}/x/*?use_mmap=false"):
        (file,) = matching(uri, "files.paths.de.train")
        assert file.location.startswith(f"file://{tmp_path}/x/a.conll")
        assert file.location.endswith("?use_mmap=false") == ("?" in uri)
        (again,) = matching(file.location, "files.paths.de.train")
        assert again.path == file.path


def test_names_with_blanks_and_wildcards_are_found_again(tmp_path: Path) -> None:
    names = ["a b.conll", "c?.conll", "d*.conll", "é#.conll"]
    for name in names:
        (tmp_path / name).write_text(CONLL)
    (tmp_path / "cd.conll").write_text(CONLL)
    for pattern in (f"{tmp_path}/*.conll", f"file://{tmp_path}/*.conll"):
        found = matching(pattern, "files.paths.de.train")
        assert sorted(file.name for file in found) == sorted([*names, "cd.conll"])
        for file in found:
            (again,) = matching(file.location, "files.paths.de.train")
            assert again.path == file.path


def test_patterns_are_those_of_the_driver_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.conll").write_text(CONLL)
    own = own_of(paths={"de": {"train": "*.conll", "dev": "a.conll"}}, task="token")
    monkeypatch.chdir(tmp_path)
    item = source_of(own, "de", "train")
    monkeypatch.chdir("/")
    assert len(list(item.examples(None))) == 2


# What is in them


def test_task_labels_and_scheme_are_read_off_the_training_files(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(CONLL)
    (tmp_path / "b.conll.gz").write_bytes(gzip.compress(b"AG\tB-ORG\n\n"))
    own = own_of(paths={"de": {"train": f"{tmp_path}/*"}})
    found = found_in(own, ("de",))
    assert (found.task, found.scheme) == ("token", "bio")
    assert found.labels == ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER")


@pytest.mark.parametrize(
    ("counts", "scheme"),
    [
        ({"O": 9, "B-X": 3, "I-X": 2}, "bio"),
        ({"O": 9, "B-X": 3}, "bio"),
        ({"O": 9, "I-X": 40, "B-X": 1}, "iob1"),
        ({"O": 9, "I-X": 2}, "iob1"),
        ({"O": 9, "B-X": 1, "E-X": 1, "S-X": 2}, "bioes"),
        ({"NOUN": 9, "VERB": 2}, "bio"),
        ({"high-risk": 9, "low-risk": 2}, "bio"),
    ],
)
def test_the_scheme_is_told_by_the_prefixes(counts: dict[str, int], scheme: str) -> None:
    assert scheme_of(counts) == scheme


def test_classes_are_in_an_order_of_their_own() -> None:
    assert labels_of({"I-X": 1, "O": 3, "E-A": 1}, "bioes", "token") == (
        "O", "B-A", "I-A", "B-X", "I-X",
    )  # fmt: skip
    assert labels_of({"NOUN": 1, "ADJ": 3}, "bio", "token") == ("ADJ", "NOUN")
    assert labels_of({"O": 1, "B-X": 3}, "bio", "sentence") == ("B-X", "O")


def table(folder: Path, ending: str, rows: list[dict[str, str]]) -> Path:
    path = folder / f"train.{ending}"
    if ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(
                stream, list(rows[0]), delimiter="\t" if ending == "tsv" else ","
            )
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "parquet"])
def test_texts_and_pairs_are_told_by_their_fields(tmp_path: Path, ending: str) -> None:
    texts = table(tmp_path, ending, [{"text": text, "label": label} for text, label in TEXTS])
    own = own_of(paths={"de": {"train": str(texts)}})
    found = found_in(own, ("de",))
    assert (found.task, found.labels) == ("sentence", ("bad", "good"))
    good, bad = read(source(texts, task="sentence"), LabelSet(found.labels))
    assert not bad
    assert [(row.text, row.labels) for row in good] == [
        (text, found.labels.index(label)) for text, label in TEXTS
    ]
    rows = [{"a": one, "b": two, "gold": label} for one, two, label in PAIRS]
    columns = {"premise": "a", "hypothesis": "b", "label": "gold"}
    pairs = table(tmp_path, ending, rows)
    own = own_of(paths={"de": {"train": str(pairs)}}, columns=columns)
    assert found_in(own, ("de",)).task == "pair"
    good, bad = read(source(pairs, task="pair", columns=columns), LabelSet(("no", "yes")))
    assert not bad
    assert [(row.text, row.text_pair, row.labels) for row in good] == [
        (one, two, int(label == "yes")) for one, two, label in PAIRS
    ]


def test_files_that_say_nothing_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "x", "label": "y"}\n')
    own = own_of(paths={"de": {"train": f"{tmp_path}/a.jsonl"}})
    with pytest.raises(ConfigError, match="has the fields body, label; needed: tokens, or text"):
        found_in(own, ("de",))
    (tmp_path / "b.jsonl").write_text('{"text": "x", "label": 3}\n')
    own = own_of(paths={"de": {"train": f"{tmp_path}/b.jsonl"}})
    with pytest.raises(ConfigError, match=r"one class, '3', needed: two or more"):
        found_in(own, ("de",))
    (tmp_path / "b.jsonl").write_text('{"text": "x", "label": 0}\n{"text": "y", "label": 1}\n')
    own = own_of(paths={"de": {"train": f"{tmp_path}/b.jsonl"}})
    assert found_in(own, ("de",)).labels == ("0", "1")
    (tmp_path / "c.jsonl").write_text('{"tokens": ["x", "y"], "tags": [0, 1]}\n')
    own = own_of(paths={"de": {"train": f"{tmp_path}/c.jsonl"}})
    with pytest.raises(ConfigError, match=r"de.train: tags are numbers; name the classes"):
        found_in(own, ("de",))
    (tmp_path / "d.jsonl").write_text('{"text": "x", "label": ""}\n' * 3)
    own = own_of(paths={"de": {"train": f"{tmp_path}/d.jsonl"}})
    reason = "no row has labels that can be read: 3 x empty label '', .*first in .*, line 1"
    with pytest.raises(ConfigError, match=reason):
        found_in(own, ("de",))


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        (["B-PER", "I-PER", "O"] * 20 + ["B_PER"], r"but not 'B_PER' \(1 x\); mend them"),
        (["O", "O"], "no entity in the training files, all tags are O"),
        (["KEEP", "KEEP"], "one class, 'KEEP', needed: two or more"),
    ],
)
def test_tags_that_are_no_tags_are_told(tmp_path: Path, tags: list[str], reason: str) -> None:
    (tmp_path / "a.conll").write_text("".join(f"w\t{tag}\n" for tag in tags))
    files = {"de": {"train": f"{tmp_path}/a.conll"}}
    with pytest.raises(ConfigError, match=reason):
        found_in(own_of(paths=files), ("de",))
    assert found_in(own_of(paths=files, labels="O,B-PER,I-PER", scheme="bio"), ("de",)).labels


def test_a_table_with_other_names_of_fields_is_no_sentence(tmp_path: Path) -> None:
    rows = [{"sentence": f"s {number}", "class": "good"} for number in range(300)]
    own = own_of(paths={"de": {"train": str(table(tmp_path, "tsv", rows))}})
    with pytest.raises(ConfigError, match="has the fields class, sentence; needed: tokens"):
        found_in(own, ("de",))


# Rows


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        ("marks", ["Ja", ",", "Dr", ".", "नमस्ते", "दुनिया", "!"]),
        ("blanks", ["Ja,", "Dr.", "नमस्ते", "दुनिया!"]),
        ("characters", ["J", "a", ",", "D", "r", ".", "न", "म", "स्ते", "दु", "नि", "या", "!"]),
    ],
)
def test_plain_text_is_cut_into_words(cut: Any, words: list[str]) -> None:
    text = "Ja, Dr. नमस्ते  दुनिया!"
    assert [text[a:b] for a, b in word_places(text, cut)] == words


def test_plain_text_and_columns_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("Anna lebt in Ulm.\n\nUnd?\n")
    (tmp_path / "columns.txt").write_text(CONLL)
    good, bad = read(source(tmp_path / "plain.txt", "unlabelled"))
    assert [row.tokens for row in good] == [("Anna", "lebt", "in", "Ulm", "."), ("Und", "?")]
    assert [row.line for row in good] == [1, 3]
    assert not bad
    good, _ = read(source(tmp_path / "columns.txt", "unlabelled"))
    assert [row.tokens for row in good] == [("Anna", "lebt"), ("in", "Ulm")]


def test_fields_of_text_become_words_in_token_tasks(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "Anna lebt."}\n{"tokens": ["in", "Ulm"]}\n')
    good, bad = read(source(tmp_path / "a.jsonl", "unlabelled"))
    assert [row.tokens for row in good] == [("Anna", "lebt", "."), ("in", "Ulm")]
    assert not bad


def test_bad_rows_of_csv_name_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label\n"one\nrow",good\ntoo,many,values\n,bad\n"open,x\n')
    good, bad = read(source(tmp_path / "a.csv", task="sentence"), LabelSet(("bad", "good")))
    assert [row.text for row in good] == ["one\nrow"]
    assert [row.line for row in bad] == [4, 5, 6]
    assert bad[0].reason == "3 columns, needed: 2 as in the first line"
    assert bad[1].reason.startswith("empty text ''")
    assert bad[2].reason.startswith("no valid CSV")


def test_a_stray_quote_costs_its_own_line_alone(tmp_path: Path) -> None:
    lines = [f"text {number},good" for number in range(400)]
    lines[100], lines[200], lines[300] = '"Great" he said,good', '"never closed,bad', '"a\nb",bad'
    (tmp_path / "a.csv").write_text("\n\n".join(["", "text,label", "\n".join(lines)]) + "\n")
    good, bad = read(source(tmp_path / "a.csv", task="sentence"), LabelSet(("bad", "good")))
    assert len(good) == 398
    assert [row.line for row in bad] == [105, 205]
    assert (good[-1].line, good[298].text) == (405, "a\nb")
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "\n".join(lines).replace(",", "\t") + "\n")
    good, bad = read(source(tmp_path / "a.tsv", task="sentence"), LabelSet(("bad", "good")))
    assert not bad
    assert (good[100].text, good[200].text) == ('"Great" he said', '"never closed')


def test_a_first_line_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('"text,label\na,good\n')
    good, bad = read(source(tmp_path / "a.csv", task="sentence"))
    assert (good, [row.line for row in bad]) == ([], [1])


def test_fields_longer_than_a_row_may_be_are_one_bad_row(tmp_path: Path) -> None:
    long, labels = "x" * 200_000, LabelSet(("bad", "good"))
    (tmp_path / "a.csv").write_text(f"text,label\n{long},good\nshort,bad\n")
    good, bad = read(source(tmp_path / "a.csv", task="sentence"), labels)
    assert ([row.text for row in good], bad) == ([long, "short"], [])
    good, bad = read(source(tmp_path / "a.csv", task="sentence", row_bytes=100_000), labels)
    assert ([row.text for row in good], [row.line for row in bad]) == (["short"], [2])


def test_types_get_other_names_or_none(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("a\tB-DATE\nb\tI-DATE\nc\tB-LOCATION\n\n")
    labels = LabelSet(("O", "B-LOC", "I-LOC"))
    types = {"DATE": "O", "LOCATION": "LOC"}
    good, bad = read(source(tmp_path / "a.conll", types=types), labels)
    assert not bad
    assert good[0].labels == (0, 0, 1)
    _, bad = read(source(tmp_path / "a.conll", types={"DATE": "O"}), labels)
    assert bad[0].reason.startswith("unknown tag 'B-LOCATION', allowed: O, B-LOC, I-LOC, B-DATE")


def test_rows_of_several_files_have_ids_of_their_own_and_one_limit(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.conll").write_text(CONLL)
    item = source(tmp_path / "*.conll")
    good, _ = read(item)
    assert len({row.id for row in good}) == 4
    assert [(row.file, row.line) for row in good] == [
        ("a.conll", 1), ("a.conll", 4), ("b.conll", 1), ("b.conll", 4),
    ]  # fmt: skip
    assert [row.id for row in read(item, limit=3)[0]] == [row.id for row in good[:3]]
    assert [file["name"] for file in item.identity()["files"]] == ["a.conll", "b.conll"]
    assert item.volume() == 2 * len(CONLL)


def test_equal_ids_of_two_files_are_two_rows(tmp_path: Path) -> None:
    labels = LabelSet(("bad", "good"))
    (tmp_path / "a.csv").write_text("id,text,label\n0,one,good\n1,two,good\n1,three,good\n")
    (tmp_path / "b.csv").write_text("id,text,label\n0,four,bad\n1,five,bad\n")
    good, bad = read(source(tmp_path / "*.csv", task="sentence"), labels)
    assert [(row.text, row.labels) for row in good] == [
        ("one", 1), ("two", 1), ("four", 0), ("five", 0),
    ]  # fmt: skip
    assert len({row.id for row in good}) == 4
    assert [row.reason for row in bad] == ["duplicate id '1', first used in line 3"]
    good, bad = read(source(tmp_path / "*.csv", task="sentence", ids=False), labels)
    assert (len(good), bad) == (5, [])
    assert len({row.id for row in good}) == 5


def test_faults_of_files_name_the_key(tmp_path: Path) -> None:
    (tmp_path / "a.doc").write_text("x")
    (tmp_path / "b.txt").write_text("")
    (tmp_path / "c.conll").write_text("\n\n")
    for name, reason in (
        ("a.doc", "is of no format"),
        ("b.txt", "is empty"),
        ("c.conll", "no row"),
    ):
        with pytest.raises(ValueError, match=rf"files.paths.de.train: .*{name}.* ?{reason}"):
            read(source(tmp_path / name))


def test_zst_files_are_unpacked(tmp_path: Path) -> None:
    packed = pa.compress(CONLL.encode(), codec="zstd", asbytes=True)
    (tmp_path / "a.conll.zst").write_bytes(packed)
    good, _ = read(source(tmp_path / "a.conll.zst"))
    assert [row.tokens for row in good] == [("Anna", "lebt"), ("in", "Ulm")]
    (tmp_path / "b.conll.zst").write_bytes(packed[:-6])
    with pytest.raises(ValueError, match=r"b.conll.zst: is no intact zst file"):
        read(source(tmp_path / "b.conll.zst"))


# Dev text of training text


def test_dev_rows_are_held_out_by_their_text(tmp_path: Path) -> None:
    lines = [
        f"wort{number % 150}\t{'B-X' if number % 7 else 'no tag'}\n\n" for number in range(300)
    ]
    (tmp_path / "a.conll").write_text("".join(lines))
    own = own_of(
        paths={"de": {"train": f"{tmp_path}/a.conll"}}, task="token", labels="O,B-X,I-X",
        dev_share=0.2,
    )  # fmt: skip
    train, dev = source_of(own, "de", "train"), source_of(own, "de", "dev")
    texts = [{row.tokens for row in read(item)[0]} for item in (train, dev)]
    assert not texts[0] & texts[1]
    assert len(texts[0] | texts[1]) == 150
    assert 15 <= len(texts[1]) <= 45
    assert (train.split, dev.split) == ("train", "dev")
    labels = LabelSet(own.labels or ())
    for item in (train, dev):
        text, gold = list(item.examples(None)), list(item.examples(labels))
        assert len(text) == len(gold)
        good = [row.id for row in gold if isinstance(row, Example)]
        assert set(good) < {row.id for row in text if isinstance(row, Example)}
        first = [row.line for row in item.examples(labels, 5)]
        assert first == [row.line for row in gold[:5]]
    assert train.identity() != dev.identity()


def test_a_share_that_holds_nothing_out_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("a\tO\n\n")
    own = own_of(paths={"de": {"train": f"{tmp_path}/a.conll"}}, task="token", dev_share=1e-9)
    with pytest.raises(
        ValueError, match=r"files.dev_share: 1e-09 leaves de without dev rows; name"
    ):
        list(source_of(own, "de", "dev").examples(None))


def test_ids_of_the_hub_name_data_set_configuration_and_split() -> None:
    files = {"sw": {"train": "hub:owner/name@v1:sw:part", "dev": "hub:owner/name:sw"}}
    own = own_of(paths=files, task="token", labels="O,B-X,I-X", scheme="bio")
    item: Any = source_of(own, "sw", "train")
    assert (item.hub_id, item.revision, item.config, item.aliases) == (
        "owner/name", "v1", "sw", ("part",),
    )  # fmt: skip
    dev: Any = source_of(own, "sw", "dev")
    assert (dev.revision, dev.aliases) == (None, ("validation", "dev"))


# As a benchmark


def values(folder: Path, **own: Any) -> dict[str, Any]:
    (folder / "en.conll").write_text(CONLL * 20)
    (folder / "sw.txt").write_text("Habari ya asubuhi.\n")
    files = {"en": {"train": f"{folder}/en.conll"}, "sw": {"unlabelled": f"{folder}/sw.txt"}}
    return {
        "benchmark": {"name": "files"},
        "files": {"paths": files, **own},
        "backbone": "toy",
        "method": {"name": "cltp"},
    }


def test_runs_of_other_files_have_other_names(tmp_path: Path) -> None:
    first = configure_run(values(tmp_path)).run_name
    assert re.fullmatch(r"cltp-en-sw-[0-9a-f]{6}-s0", first)
    assert configure_run(values(tmp_path)).run_name == first
    (tmp_path / "other").mkdir()
    assert configure_run(values(tmp_path / "other")).run_name != first
    assert configure_run(values(tmp_path, types={"LOC": "PLACE"})).run_name != first


def test_files_are_a_benchmark(tmp_path: Path) -> None:
    config = configure_run(values(tmp_path))
    assert (config.files.task, config.files.scheme) == ("token", "bio")
    assert config.files.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert config.benchmark.source == ("en",)
    benchmark = benchmark_of(config)
    assert (benchmark.metric, benchmark.sources) == ("f1", ("en",))
    assert resolve_targets(benchmark, None, "all", source_languages=("en",)) == ("sw",)
    assert not benchmark.has("sw", "test")
    (found,) = sources(benchmark, root=None, languages=["sw"], split="unlabelled")
    assert len(list(found.examples(None))) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"files": {}},
            "files.paths: no language has labelled training files, such as files.paths.en.tr",
        ),
        (
            {"benchmark": {"name": "files", "source": ["sw"]}},
            "benchmark.source: sw has no files.paths.s",
        ),
        (
            {"benchmark": {"name": "files", "root": "x"}},
            "benchmark.root: files of your own are named",
        ),
        (
            {"benchmark": {"name": "files", "revision": "x"}},
            "benchmark.revision: name it with the f",
        ),
        (
            {"benchmark": {"name": "toy"}},
            "files.paths: benchmark.name is 'toy', needed for them: 'files",
        ),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as error:
        configure_run({**values(tmp_path), **change})
    assert str(error.value).startswith(reason)


# Which method


def test_every_kind_of_data_has_a_method() -> None:
    from xlt_ray.methods import METHODS

    for task in ("token", "sentence", "pair"):
        for entities in (True, False):
            for count in (1, 3):
                found = recommend(task, has_entities=entities and task == "token", sources=count)
                method = METHODS[found.method]
                assert task in method.tasks
                assert entities or not (method.needs_bio and task == "token")
    assert recommend("token", has_entities=True, sources=1).method == "sl_evi"
    assert recommend("token", has_entities=True, sources=2).method == "lvm"


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    """In messages, and where both give the same ids to their rows."""
    for name in "abc":
        path = tmp_path / name / "x.jsonl"
        path.parent.mkdir()
        path.write_text('{"id": "7", "tokens": ["w"], "tags": ["O"]}\n{"id": "8"}\n')
    patterns = tuple(str(tmp_path / name / "x.jsonl") for name in ("a", "b", "?"))
    source = UserSource(patterns, "sw", "train", "token")
    assert [file.name for file in source.files()] == ["x.jsonl", "b/x.jsonl", "c/x.jsonl"]
    rows = list(source.examples(None))
    good = [row for row in rows if isinstance(row, Example)]
    assert len({row.id for row in good}) == len(good) == 3
    bad = [(row.file, row.line) for row in rows if isinstance(row, BadRow)]
    assert bad == [("x.jsonl", 2), ("b/x.jsonl", 2), ("c/x.jsonl", 2)]


@pytest.mark.parametrize(
    ("tested", "line"),
    [
        ([], "scored:  nothing, as there are no test files"),
        (["sw"], "scored:  all but en, which have no test files"),
        (["en", "sw"], None),
    ],
)
def test_what_is_scored_is_said(tmp_path: Path, tested: list[str], line: str | None) -> None:
    (tmp_path / "a.conll").write_text(CONLL)
    file = str(tmp_path / "a.conll")
    paths = {"en": {"train": file}, "sw": {"unlabelled": file}}
    for language in tested:
        paths[language]["test"] = file
    keys = {
        "files": {"paths": paths}, "backbone": "toy", "method": {"name": "cltp"},
        "benchmark": {"name": "files"},
    }  # fmt: skip
    config = self_train.configure(keys)
    found = [text for text in self_train.shown(config) if text.startswith("scored:")]
    assert found == ([line] if line else [])
