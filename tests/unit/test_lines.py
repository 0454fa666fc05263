"""Rows that are too large for the memory: quarantined with their line, and never held."""

import gzip
import io
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xlt_ray.data.lines import Overlong, lines_of
from xlt_ray.data.own import OwnSource
from xlt_ray.data.readers import FileSource
from xlt_ray.data.schema import BadRow, Example
from xlt_ray.data.tables import sizes_of
from xlt_ray.labels import LabelSet

MB = 1 << 20
REST = "\t_" * 6
MOST_MB = 200
"""More than a process has at rest that a reader may take, in MB."""

READ = """
import json, resource, sys
from xlt_ray.data.own import OwnSource, found_in
from xlt_ray.config import OwnConfig
from xlt_ray.data.schema import BadRow
from xlt_ray.labels import LabelSet

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

path, task, labelled = json.loads(sys.argv[1])
labels = LabelSet(("O", "B-PER")) if task == "token" else LabelSet(("good", "bad"))
labels = labels if labelled == "train" else None
before, bad, good = peak(), [], 0
try:
    for row in OwnSource((path,), "de", labelled, task).examples(labels):
        if isinstance(row, BadRow):
            bad.append([row.line, row.reason])
        else:
            good += 1
    if labelled == "train":
        found_in(OwnConfig(files={"de": {"train": (path,)}}), ("de",))
except ValueError as error:
    bad.append([0, str(error)])
print(json.dumps({"good": good, "bad": bad, "mb": peak() - before}))
"""


def went(path: Path, task: str, split: str = "train") -> dict[str, Any]:
    """What reading a file in a process of its own gives, and how many MB more it takes."""
    run = subprocess.run(
        [sys.executable, "-c", READ, json.dumps([str(path), task, split])],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


def parts(head: bytes, filling: bytes, tail: bytes, size: int = 1 << 30) -> Iterator[bytes]:
    """A text of so many bytes, in pieces."""
    piece = filling * (MB // len(filling))
    yield head
    for _ in range(size // len(piece)):
        yield piece
    yield tail


def packed(path: Path, pieces: Iterator[bytes]) -> Path:
    """Write them packed as the name says, without holding them."""
    if path.suffix == ".gz":
        packer = zlib.compressobj(9, wbits=31)
        with path.open("wb") as stream:
            for piece in pieces:
                stream.write(packer.compress(piece))
            stream.write(packer.flush())
        return path
    kind = "zstd" if path.suffix == ".zst" else None
    with pa.output_stream(str(path), compression=kind) as stream:
        for piece in pieces:
            stream.write(piece)
    return path


LONG = "the row has more than 16,777,216 bytes; data.max_row_bytes lets more through"


@pytest.mark.parametrize(
    ("name", "task", "head", "filling", "tail", "line", "reason"),
    [
        ("a.jsonl.zst", "sentence", b'{"text": "a", "label": "good"}\n{"text": "', b"x",
         b'"}\n{"text": "b", "label": "bad"}\n', 2, LONG),
        ("a.jsonl.gz", "sentence", b'{"text": "a", "label": "good"}\n', b"[",
         b'\n{"text": "b", "label": "bad"}\n', 2, LONG),
        ("a.csv.zst", "sentence", b"text,label\na,good\n", b"x,", b"\nb,bad\n", 3, LONG),
        ("a.tsv.zst", "sentence", b"text\tlabel\na\tgood\n", b"x", b"\nb\tbad\n", 3, LONG),
        ("a.conll.zst", "token", b"a\tO\n\nb\tO\n", b"x", b"\tO\n\nc\tB-PER\n\n", 4,
         LONG.replace("row has", "line has", 1)),
        ("a.tsv.gz", "token", b"a\tO\n\nb\tO\n", b"x ", b"\tO\n\nc\tB-PER\n\n", 4,
         LONG.replace("row has", "line has", 1)),
    ],
)  # fmt: skip
def test_a_gigabyte_in_a_line_is_a_bad_row(
    tmp_path: Path, name: str, task: str, head: bytes, filling: bytes, tail: bytes,
    line: int, reason: str,
) -> None:  # fmt: skip
    size = 1 << (28 if name.endswith("gz") else 30)  # gzip takes its time, and 256 MB are too much
    path = packed(tmp_path / name, parts(head, filling, tail, size))
    assert path.stat().st_size < 2 * MB
    found = went(path, task)
    assert found["bad"][0] == [line, reason]
    assert found["good"] == 2
    assert found["mb"] < MOST_MB


def test_a_gigabyte_of_plain_text(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.txt.zst", parts(b"a b\n", b"x", b"\nc\n"))
    found = went(path, "sentence", "unlabelled")
    assert found["bad"][0] == [2, LONG]
    assert found["mb"] < MOST_MB


def test_long_lines_of_a_sentence_are_bounded_together(tmp_path: Path) -> None:
    """20,000 lines of 50,000 bytes are a gigabyte, none of which is too long."""
    long = b"x" * 50_000 + b"\tO\n"
    pieces = iter([b"a\tO\n\n", *[long] * 19_990, b"\nb\tB-PER\n\n"])
    found = went(packed(tmp_path / "a.conll.zst", pieces), "token")
    assert found["bad"][0] == [3, LONG.replace("the row", "the sentence", 1)]
    assert found["good"] == 2
    assert found["mb"] < MOST_MB


@pytest.mark.parametrize("line", [b"y" * 50_000 + b"\n", b"\n"])
def test_a_quote_that_never_ends(tmp_path: Path, line: bytes) -> None:
    """The first line is the bad row; the next ones are rows of their own."""
    count = 6000 if len(line) > 1 else 1_000_000
    pieces = iter([b'text,label\na,good\n"b,bad\n', *[line] * count, b"c,bad\n"])
    found = went(packed(tmp_path / "a.csv.zst", pieces), "sentence")
    assert found["bad"][0][0] == 3
    assert found["good"] == 2
    assert found["mb"] < MOST_MB


# Parquet: what a file of some kilobytes may unpack to


def big() -> str:
    return "x" * (17 * MB)


@pytest.mark.parametrize(
    ("texts", "lines"),
    [
        (["a", big(), "b"], [2]),
        ([big()], [1]),
        (["x" * (15 * MB)] * 30, []),
        ([["w" * (15 * MB)] * 2, ["w"]], [1]),
    ],
)
def test_large_values_in_parquet(tmp_path: Path, texts: list[Any], lines: list[int]) -> None:
    """Thirty times the same 15 MB take them once in the file, and never all in memory."""
    is_tokens = isinstance(texts[0], list)
    columns = {"tokens": texts} if is_tokens else {"text": texts, "label": ["good"] * len(texts)}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", compression="zstd")
    found = went(tmp_path / "a.parquet", "token" if is_tokens else "sentence", "unlabelled")
    bad = [line for line, reason in found["bad"] if "data.max_row_bytes" in reason]
    assert bad == lines
    assert found["mb"] < MOST_MB + 200  # a page is held as its writer cut it


def test_sizes_of_nested_values() -> None:
    """Bytes of texts, 8 of any other value, 8 at least of each in a list."""
    assert sizes_of(pa.array(["", "é", None])).tolist() == [0, 2, 0]
    assert sizes_of(pa.array([["", "x" * 9], None, []])).tolist() == [17, 0, 0]
    assert sizes_of(pa.array([{"a": "xyz", "b": 1}])).tolist() == [11]
    assert sizes_of(pa.array(["ab", "c", "ab"]).dictionary_encode()).tolist() == [2, 1, 2]
    maps = pa.array([[("k", "v" * 9)], None], pa.map_(pa.string(), pa.string()))
    assert sizes_of(maps).tolist() == [10, 0]
    assert sizes_of(pa.array([[1, 2], [3]]).slice(1)).tolist() == [8]


# Where lines end


@pytest.mark.parametrize("most", [3, 4, 100])
def test_lines_up_to_a_length(most: int) -> None:
    """One CR and the mark before the first line do not count, and what is cut is skipped."""
    data = b"\xef\xbb\xbfabc\r\nabcd\n\nabcde\r\r\nx"
    found = list(lines_of(io.BytesIO(data), most))
    whole = [b"abc", b"abcd", b"", b"abcde\r", b"x"]
    assert [len(line) <= most for line in whole] == [type(line) is bytes for line in found]
    assert [line for line in found if type(line) is bytes] == [x for x in whole if len(x) <= most]
    assert all(isinstance(line, Overlong | bytes) for line in found)


def test_a_bound_that_is_set_holds_for_every_format(tmp_path: Path) -> None:
    long = "x" * 2000
    contents = {
        "a.conll": f"a\tO\n\n{long}\tO\n\nb\tO\n\n",
        "a.conllu": f"# {long}\n1\t{long}\t_\tX{REST}\n\n1\ta\t_\tX{REST}\n\n",
        "a.jsonl": f'{{"tokens": ["a"]}}\n{{"tokens": ["{long}"]}}\n{{"tokens": ["b"]}}\n',
        "a.txt": f"a\n{long}\nb\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
        source = OwnSource((str(tmp_path / name),), "de", "unlabelled", "token", row_bytes=1024)
        rows = list(source.examples(None))
        reasons = [row.reason for row in rows if isinstance(row, BadRow)]
        assert sum("more than 1,024 bytes" in reason for reason in reasons) == 1, name
        assert source.identity()["row_bytes"] == 1024


def test_a_benchmark_has_the_same_bound(tmp_path: Path) -> None:
    (tmp_path / "de").mkdir()
    content = b"a\tO\n\n" + b"x" * 2000 + b"\tO\n\nb\tO\n\n"
    (tmp_path / "de/train.txt.gz").write_bytes(gzip.compress(content))
    source = FileSource(str(tmp_path), "de", "train", "token", row_bytes=1024)
    good, bad, other = source.examples(LabelSet(("O", "B-X")))
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.reason[:33]) == (3, "the line has more than 1,024 byte")
    assert [row.tokens for row in (good, other) if isinstance(row, Example)] == [("a",), ("b",)]
