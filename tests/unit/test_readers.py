"""Column files and JSONL: what must survive, what is quarantined, what stops a run."""

import gzip
import hashlib
import json
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.folders import NER, NLI, read, source, tokens_of, write
from xlt_ray.data.readers import layouts
from xlt_ray.data.readers.files import DataFolder, FileSource
from xlt_ray.data.schema import BadRow, Example, Task
from xlt_ray.labels import LabelSet

# What must survive


def test_two_columns(tmp_path: Path) -> None:
    write(tmp_path, "Anna\tB-PER\nlacht\tO\n\nBonn\tB-LOC\n\n")
    good, bad = read(tmp_path)
    assert not bad
    assert tokens_of(good) == [["Anna", "lacht"], ["Bonn"]]
    assert [row.labels for row in good] == [(1, 0), (3,)]
    assert [(row.file, row.line, row.language) for row in good] == [
        ("de/train.txt", 1, "de"),
        ("de/train.txt", 4, "de"),
    ]


@pytest.mark.parametrize(
    "token",
    [
        "#",
        "#hashtag",
        "1 000",
        "\u2028",
        "\x85",
        "\x0b",
        "\x1c",
        "\u200b",
        "a\ufeffb",
        "\xa0",
        "e\u0301",
    ],
)
def test_tokens_that_must_survive(tmp_path: Path, token: str) -> None:
    """Comment signs, inner spaces, all Unicode line ends, invisible and unnormalised characters."""
    write(tmp_path, f"{token}\tO\nb\tO\n\n{token}\tB-PER\n\n")
    good, bad = read(tmp_path)
    assert not bad
    assert tokens_of(good) == [[token, "b"], [token]]


def test_carriage_return_byte_order_mark_and_missing_last_line_end(tmp_path: Path) -> None:
    write(tmp_path, b"\xef\xbb\xbfAnna\tB-PER\r\n\r\n\r\nBonn\tB-LOC")
    good, bad = read(tmp_path)
    assert not bad
    assert tokens_of(good) == [["Anna"], ["Bonn"]]
    assert [row.line for row in good] == [1, 4]


@pytest.mark.parametrize("separator", ["\t", " "])
def test_conll_with_four_columns(tmp_path: Path, separator: str) -> None:
    lines = ["-DOCSTART- -X- -X- O", "", "Anna NNP I-NP I-PER", "lacht VB I-VP O", ""]
    lines += ["-DOCSTART- -X- -X- O", "Bonn NNP I-NP I-LOC"]
    write(tmp_path, "\n".join(lines).replace(" ", separator), "de/train.conll")
    good, bad = read(tmp_path, scheme="iob1")
    assert not bad
    assert tokens_of(good) == [["Anna", "lacht"], ["Bonn"]]
    assert [row.labels for row in good] == [(1, 0), (3,)]
    assert [row.line for row in good] == [3, 7]


def test_one_tab_anywhere_makes_spaces_part_of_tokens(tmp_path: Path) -> None:
    """The first line with a TAB is number 3,002, past the lines that are looked at first."""
    write(tmp_path, "New York\n\n" * 1500 + "\nBonn am Rhein\tB-LOC\n")
    good, _ = read(tmp_path, None)
    assert tokens_of(good)[0] == ["New York"]
    assert tokens_of(good)[-1] == ["Bonn am Rhein"]
    write(tmp_path, "New York\n\n", "en/train.tsv")
    good, _ = read(tmp_path, None, language="en")
    assert tokens_of(good) == [["New York"]]


def test_language_prefix_is_data_unless_told(tmp_path: Path) -> None:
    write(tmp_path, "de:Anna\tB-PER\nde::\tO\n\nBonn\tB-LOC\n\nde:\tO\n", "de/train.tsv")
    assert tokens_of(read(tmp_path)[0]) == [["de:Anna", "de::"], ["Bonn"], ["de:"]]
    good, bad = read(tmp_path, strip_prefix=True)
    assert tokens_of(good) == [["Anna", ":"]]
    assert bad[0].line == 4
    assert bad[0].reason == "token 'Bonn' does not start with 'de:', as strip_prefix expects"
    assert bad[1].reason.startswith("empty token ''")


def test_types_are_renamed_in_columns(tmp_path: Path) -> None:
    """HUM is PER, also behind PER; PET is none of the types."""
    write(tmp_path, "a\tB-HUM\nb\tI-HUM\nc\tI-PER\nd\tB-HUM\n\ne\tO\nf\tB-PET\n")
    good, bad = read(tmp_path, types={"HUM": "PER"})
    assert [row.labels for row in good] == [(1, 2, 2, 1)]
    assert [row.id for row in good] == [row.id for row in read(tmp_path, None)[0][:1]]
    reason = "unknown tag 'B-PET', allowed: O, B-PER, I-PER, B-LOC, I-LOC, B-HUM, I-HUM"
    assert bad == [BadRow("de/train.txt", 7, reason)]
    assert [row.line for row in read(tmp_path)[1]] == [1, 7]


def test_types_are_renamed_in_jsonl(tmp_path: Path) -> None:
    """Class 0 of the second row is that of the label set, as ever."""
    rows = [{"tokens": ["a", "b"], "tags": ["B-HUM", "I-PER"]}, {"tokens": ["c"], "tags": [0]}]
    write(tmp_path, "\n".join(map(json.dumps, rows)), "de/train.jsonl")
    good, bad = read(tmp_path, types={"HUM": "PER"})
    assert ([row.labels for row in good], bad) == ([(1, 2), (0,)], [])


def test_bioes_in_jsonl_with_prefix(tmp_path: Path) -> None:
    row = {"tokens": ["de:Anna", "de:lacht"], "tags": ["S-PER", "O"]}
    write(tmp_path, json.dumps(row), "de/train.jsonl")
    good, bad = read(tmp_path, scheme="bioes", strip_prefix=True)
    assert not bad
    assert (good[0].tokens, good[0].labels) == (("Anna", "lacht"), (1, 0))


@pytest.mark.parametrize(
    ("task", "labels", "rows", "expected"),
    [
        ("token", NER, [{"tokens": ["a", "b"], "ner_tags": [0, "B-PER"]}], (0, 1)),
        ("sentence", NLI, [{"text": "a", "label": "neutral"}], 1),
        ("pair", NLI, [{"premise": "a", "hypothesis": "b", "label": 2}], 2),
        ("pair", NLI, [{"text": "a", "text_pair": "b", "label": "entailment"}], 0),
    ],
)
def test_jsonl(tmp_path: Path, task: Task, labels: LabelSet, rows: Any, expected: Any) -> None:
    write(tmp_path, "\n\n".join(json.dumps(row) for row in rows), "de/train.jsonl.gz")
    good, bad = read(tmp_path, labels, task=task)
    assert not bad
    assert good[0].labels == expected
    assert (good[0].file, good[0].line) == ("de/train.jsonl.gz", 1)


@pytest.mark.parametrize("name", ["de/train.txt", "de/train.tsv.gz", "de/train.conll.gz"])
def test_identity_depends_on_bytes_and_options_but_not_on_the_folder(
    tmp_path: Path, name: str
) -> None:
    path = write(tmp_path / "one", "a\tO\n", name)
    write(tmp_path / "two", path.read_bytes() if name[-2:] != "gz" else "a\tO\n", name)
    identity = source(tmp_path / "one").identity()
    assert identity["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert identity["bytes"] == path.stat().st_size
    assert identity["name"] == name
    assert str(tmp_path) not in json.dumps(identity)
    assert source(tmp_path / "one", scheme="iob1").identity() != identity
    assert source(tmp_path / "one", types={"HUM": "PER"}).identity() != identity
    write(tmp_path / "one", "a\tB-PER\n", name)
    assert source(tmp_path / "one").identity()["sha256"] != identity["sha256"]


def test_uri_reads_the_same_rows(tmp_path: Path) -> None:
    write(tmp_path, "a\tO\n\nb\tO\n", "de/train.txt.gz")
    assert read(f"file://{tmp_path}") == read(tmp_path)
    assert source(f"file://{tmp_path}").identity() == source(tmp_path).identity()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Of a file of 16 MB a read buffer of 1 MB and 10,000 id counts (1 MB) are in memory."""
    rows = (json.dumps({"text": f"{i} {'x' * 1600}", "label": 0}) for i in range(10_000))
    path = write(tmp_path, "\n".join(rows), "de/train.jsonl")
    tracemalloc.start()
    count = sum(1 for _ in source(tmp_path, "sentence").examples(NLI))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 10_000
    assert peak < 4_000_000 < path.stat().st_size / 4


# Text without labels


TAGS = st.sampled_from(
    [b"O", b"B-PER", b"B-FOO", b"", b"\xff", b" x y", b"\x00", "\u2028".encode()]
)
WORDS = st.sampled_from([b"a", b"b", b"New York", b"#", b"", b"\xff", "\u200b".encode()])


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.lists(st.tuples(WORDS, TAGS), min_size=1, max_size=4), min_size=1, max_size=6),
    st.integers(1, 6),
)
def test_tags_change_no_text_and_no_id(
    tmp_path: Path, sentences: list[list[tuple[bytes, bytes]]], limit: int
) -> None:
    """The same words with tags that are right, wrong or cut off give the same rows of text."""

    def file(rows: list[list[bytes]]) -> bytes:
        return b"".join(b"".join(row) + b"\n" for row in rows)

    head = [b"start\tO\n"]
    clean = [head, *([b"%s\tO\n" % word for word, _ in rows] for rows in sentences)]
    # A line of white space alone ends a sentence, so a word that is none needs a tag to be seen.
    pairs = [[(w, t if w.strip() or t.strip() else b"O") for w, t in rows] for rows in sentences]
    noisy = [head, *([b"%s\t%s\n" % pair for pair in rows] for rows in pairs)]
    cut = [head, *([b"%s\n" % word or b"\t\n" for word, _ in rows] for rows in sentences)]
    write(tmp_path, file(clean))
    expected = read(tmp_path, None, limit=limit)
    labelled = read(tmp_path, NER, limit=limit)
    assert [replace(row, labels=None) for row in labelled[0]] == expected[0]
    assert labelled[1] == expected[1]
    for rows in (noisy, [*cut] if all(word for row in sentences for word, _ in row) else noisy):
        write(tmp_path, file(rows))
        assert read(tmp_path, None, limit=limit) == expected
        good, bad = read(tmp_path, NER, limit=limit)
        assert {row.id for row in good} <= {row.id for row in expected[0]}
        assert len(good) + len(bad) == len(expected[0]) + len(expected[1])


def test_labels_in_jsonl_change_no_text_and_no_id(tmp_path: Path) -> None:
    expected = None
    for label in (b'"neutral"', b'"x"', b"17", b"null", b'"\xff"', b'{"a": []}', b'"\\ud800"'):
        row = b'{"text": "a", "label": %s}\n'
        write(tmp_path, row % b"1" + row % label + row % b"0", "de/train.jsonl")
        plain = read(tmp_path, None, task="sentence")
        expected = expected or plain
        assert plain == expected
        good, bad = read(tmp_path, NLI, task="sentence")
        last = good[-1]
        assert last.id == plain[0][2].id
        assert len(good) + len(bad) == 3


def test_limit_counts_rows_with_good_text(tmp_path: Path) -> None:
    """Sentences: good, empty token, unknown tag, good; the first two with good text are 1 and 3."""
    write(tmp_path, "a\tO\n\n\tO\n\nb\tX\n\nc\tO\n\n")
    good, bad = read(tmp_path, None, limit=2)
    assert tokens_of(good) == [["a"], ["b"]]
    assert [row.line for row in bad] == [3]
    good, bad = read(tmp_path, NER, limit=2)
    assert tokens_of(good) == [["a"]]
    assert [row.line for row in bad] == [3, 5]
    assert read(tmp_path, limit=0) == ([], [])


def test_volume_is_the_size_of_what_is_read(tmp_path: Path) -> None:
    text = "a\tO\n\n" * 1000
    path, item = write(tmp_path, text), source(tmp_path)
    assert item.volume() == item.volume(1000) == len(text)
    assert item.volume(2) == 1000
    path.with_name("train.txt.gz").write_bytes(gzip.compress(text.encode()))
    path.unlink()
    assert item.volume() == 4 * path.with_name("train.txt.gz").stat().st_size


# Malformed input: one bad sentence


COLUMN_FAULTS = {
    "bad UTF-8": (b"caf\xe9\tO", r"token b'caf\xe9' is not valid UTF-8"),
    "bad UTF-8 in a tag": (b"a\t\xe9", r"tag b'\xe9' is not valid UTF-8"),
    "missing tag": (b"Bonn", "missing tag after token 'Bonn', needed: token, TAB, tag"),
    "empty tag": (b"Bonn\t", "missing tag after token 'Bonn', needed: token, TAB, tag"),
    "unknown tag": (b"a\tB-FOO", "unknown tag 'B-FOO', allowed: O, B-PER, I-PER, B-LOC, I-LOC"),
    "ragged": (b"a\tb\tO", "3 columns, needed: 2 as in the rest of the file"),
    "empty token": (b"\tO", "empty token '', it needs a character other than a space"),
}


@pytest.mark.parametrize("fault", COLUMN_FAULTS)
def test_one_bad_line_quarantines_its_sentence(tmp_path: Path, fault: str) -> None:
    line, reason = COLUMN_FAULTS[fault]
    write(tmp_path, b"Anna\tB-PER\n\nx\tO\n" + line + b"\n\ty\n\nBonn\tB-LOC\n\nz\tO\n")
    good, bad = read(tmp_path)
    assert tokens_of(good) == [["Anna"], ["Bonn"], ["z"]]
    assert len(bad) == 1
    assert bad[0].file == "de/train.txt"
    write(tmp_path, b"Anna\tB-PER\n\nx\tO\n" + line + b"\ny\tO\n\nBonn\tB-LOC\n\nz\tO\n")
    assert read(tmp_path)[1] == [BadRow("de/train.txt", 4, reason)]


def test_the_first_offending_line_is_named(tmp_path: Path) -> None:
    faults = [line for line, _ in COLUMN_FAULTS.values()]
    for first, (line, reason) in COLUMN_FAULTS.items():
        for later in faults:
            write(tmp_path, b"x\tO\n\n" * 3 + line + b"\n" + later + b"\n")
            (bad,) = read(tmp_path)[1]
            text_only = read(tmp_path, None)[1]
            assert bad.line == (text_only[0].line if text_only else 7), first
            if bad.line == 7:
                assert bad.reason == reason


def test_ragged_columns_in_conll(tmp_path: Path) -> None:
    write(tmp_path, "a X O\nb X O\n\nc O\n\nd X Y O\n\ne X O\n", "de/train.conll")
    good, bad = read(tmp_path)
    assert tokens_of(good) == [["a", "b"], ["e"]]
    assert [(row.line, row.reason) for row in bad] == [
        (4, "2 columns, needed: 3 as in the rest of the file"),
        (6, "4 columns, needed: 3 as in the rest of the file"),
    ]
    assert tokens_of(read(tmp_path, None)[0]) == [["a", "b"], ["c"], ["d"], ["e"]]


def test_lost_blank_lines_do_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layouts, "MAX_SENTENCE", 3)
    write(tmp_path, "a\tO\n" * 3 + "\n" + "b\tO\n" * 9 + "\nc\tO\n")
    for labels in (NER, None):
        good, bad = read(tmp_path, labels)
        assert tokens_of(good) == [["a"] * 3, ["c"]]
        assert bad == [
            BadRow("de/train.txt", 5, "no empty line in 3 lines, one must end each sentence")
        ]


JSONL_FAULTS = {
    "wrong label": ('{"text": "b", "label": "neutrl"}', "unknown label 'neutrl', allowed: entail"),
    "wrong index": ('{"text": "b", "label": 3}', "unknown label 3, allowed: 0 entailment, 1 neut"),
    "no label": ('{"text": "b"}', "no label field, needed: label"),
    "no JSON": ('{"text": ', "no valid JSON: Expecting value at character 10"),
    "deep JSON": ("[" * 100_000, "no valid JSON: maximum recursion"),
    "no object": ("[1]", "[1] is not a JSON object"),
    "no text": ('{"txt": "b"}', "fields ['txt'], needed: text"),
    "empty text": ('{"text": " "}', "empty text ' '"),
    "bad UTF-8": (b'{"text": "caf\xe9", "label": 0}', r"text b'caf\xe9' is not valid UTF-8"),
    "bad id": ('{"text": "b", "label": 0, "id": [1]}', "id [1] is neither"),
    "duplicate id": (
        '{"text": "b", "label": 0, "id": "x"}',
        "duplicate id 'x', first used in line 1",
    ),
}


@pytest.mark.parametrize("fault", JSONL_FAULTS)
def test_one_bad_line_of_jsonl_is_quarantined(tmp_path: Path, fault: str) -> None:
    line, reason = JSONL_FAULTS[fault]
    data = line.encode() if isinstance(line, str) else line
    start, end = b'{"text": "a", "label": 0, "id": "x"}\n\n', b'\n{"text": "c", "label": 1}\n'
    write(tmp_path, start + data + end, "de/train.jsonl")
    good, bad = read(tmp_path, NLI, task="sentence")
    assert [row.text for row in good] == ["a", "c"]
    assert [(row.file, row.line) for row in bad] == [("de/train.jsonl", 3)]
    assert bad[0].reason.startswith(reason)


# Malformed input: the whole file


@pytest.mark.parametrize(
    ("name", "content"),
    [("de/train.txt", b""), ("de/train.txt", b"\n\r\n\n"), ("de/train.txt.gz", b"")],
)
def test_empty_file(tmp_path: Path, name: str, content: bytes) -> None:
    write(tmp_path, content, name)
    needed = "is empty; needed: lines of token, TAB, tag and an empty line after each sentence"
    for labels in (NER, None):
        with pytest.raises(ValueError, match=f"{tmp_path}/{name}: {needed}"):
            read(tmp_path, labels)


def test_missing_split_names_those_that_exist(tmp_path: Path) -> None:
    write(tmp_path, "a\tO\n", "de/dev.txt")
    write(tmp_path, "a\tO\n", "de/test.conll.gz")
    write(tmp_path, "a\tO\n", "de/notes.txt")
    message = (
        f"no split 'train' in {tmp_path}/de, there are: dev (dev.txt), test (test.conll.gz); "
        "needed: train.{txt,conll,tsv,conllu,gold_conll,v4_gold_conll,xml,jsonl} or the same "
        "with .gz or .zst"
    )
    for act in (source(tmp_path).identity, lambda: read(tmp_path)):
        with pytest.raises(ValueError, match="no split") as caught:
            act()
        assert str(caught.value) == message


def test_unknown_language_names_those_that_exist(tmp_path: Path) -> None:
    for name in ("fr/dev.txt", "sw/test.jsonl", ".cache/dev.txt", "empty/readme.md"):
        write(tmp_path, "a\tO\n", name)
    assert DataFolder(str(tmp_path)).languages() == ["fr", "sw"]
    for language in ("de", "empty", "", "..", "../x", "fr/", "fr/dev.txt"):
        message = f"no language {language!r} in {tmp_path}, there are: fr, sw"
        with pytest.raises(ValueError, match="no language") as caught:
            read(tmp_path, language=language)
        assert str(caught.value) == message
    with pytest.raises(ValueError, match=f"data folder {tmp_path}/no does not exist"):
        read(tmp_path / "no")


def test_folders_that_are_no_languages_are_told(tmp_path: Path) -> None:
    for name in ("fr/dev.txt", "sw[x]/dev.txt"):
        write(tmp_path, "a\tO\n", name)
    with pytest.raises(ValueError, match=r"folder 'sw\[x\]' holds data files, but the name of a"):
        DataFolder(str(tmp_path)).languages()


def test_wrong_format_and_two_files(tmp_path: Path) -> None:
    write(tmp_path, "a\tO\n")
    with pytest.raises(ValueError, match=r"no format of a pair task; needed: train.\{jsonl\}"):
        read(tmp_path, NLI, task="pair")
    write(tmp_path, "a\tO\n", "de/train.tsv")
    with pytest.raises(ValueError, match=r"several files, keep one of: train.tsv, train.txt"):
        read(tmp_path)


def test_broken_gzip(tmp_path: Path) -> None:
    path = write(tmp_path, "Anna\tB-PER\nlacht\tO\n\n" * 2000, "de/train.txt.gz")
    whole = path.read_bytes()
    faults = {
        "the gzip file is truncated, fetch it again": whole[: len(whole) // 2],
        "is no intact gzip file .Not a gzipped file": b"Anna\tB-PER\n",
        "is no intact gzip file .CRC check failed": whole[:-8] + bytes(8),
    }
    for reason, content in faults.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{path}: {reason}"):
            read(tmp_path)


def test_uri_faults_do_not_show_credentials() -> None:
    with pytest.raises(ValueError, match=r"data folder 'ftp://.* cannot be opened") as caught:
        read("ftp://me:secret@host/data")
    assert "secret" not in str(caught.value)
    assert DataFolder("s3://me:secret@bucket/data").location == "s3://***@bucket/data"


# Real data


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.long) for part in (1, 2, 3))]
)
def test_sample_data(shared_data: Path, part: int) -> None:
    """All 272 files against the counts that their makers took, and the text alone against both; a
    quarter of them, of all data sets, where tests have to be quick."""
    files = json.loads((shared_data / "manifest.json").read_text())["files"]
    assert len(files) == 272
    assert len({entry["path"].split("/")[0] for entry in files[::4]}) == len(
        {entry["path"].split("/")[0] for entry in files}
    )
    for entry in files[part::4]:
        dataset, language, name = entry["path"].split("/")
        task: Task = "token"
        if name.endswith(".jsonl"):
            task = "pair" if dataset == "xnli" else "sentence"
        labels = LabelSet(tuple(sorted(entry["labels"])))
        item = FileSource(str(shared_data / dataset), language, name.split(".")[0], task)
        ids, counts, tokens = [], Counter[int](), 0
        for row in item.examples(labels):
            assert isinstance(row, Example), row
            ids.append(row.id)
            tokens += len(row.tokens or " ".join((row.text or "", row.text_pair or "")).split())
            counts.update(row.labels if isinstance(row.labels, tuple) else [row.labels or 0])
        assert len(ids) == len(set(ids)) == entry["sentences"], entry["path"]
        assert tokens == entry["tokens"], entry["path"]
        assert {labels.names[key]: count for key, count in counts.items()} == entry["labels"]
        if entry["sentences"] <= 600:
            plain = [row.id for row in item.examples(None) if isinstance(row, Example)]
            assert plain == ids
            assert item.identity()["sha256"] == entry["sha256"]
