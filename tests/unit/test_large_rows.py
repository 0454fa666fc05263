"""Rows that are too large for the memory: quarantined with their line, and never held."""

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

MB = 1 << 20
MOST_MB = 200
"""More than a process has at rest that a reader may take, in MB."""

READ = """
import json, resource, sys
from xlt_ray.data.readers.user_files import UserSource, found_in
from xlt_ray.config.schema import FilesConfig
from xlt_ray.data.schema import BadRow
from xlt_ray.labels import LabelSet

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

path, task, labelled = json.loads(sys.argv[1])
labels = LabelSet(("O", "B-PER")) if task == "token" else LabelSet(("good", "bad"))
labels = labels if labelled == "train" else None
before, bad, good = peak(), [], 0
try:
    for row in UserSource((path,), "de", labelled, task).examples(labels):
        if isinstance(row, BadRow):
            bad.append([row.line, row.reason])
        else:
            good += 1
    if labelled == "train":
        found_in(FilesConfig(paths={"de": {"train": (path,)}}), ("de",))
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


@pytest.mark.slow
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
        pytest.param(
            "a.tsv.gz", "token", b"a\tO\n\nb\tO\n", b"x ", b"\tO\n\nc\tB-PER\n\n", 4,
            LONG.replace("row has", "line has", 1), marks=pytest.mark.long,
        ),
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


@pytest.mark.slow
def test_a_gigabyte_of_plain_text(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.txt.zst", parts(b"a b\n", b"x", b"\nc\n"))
    found = went(path, "sentence", "unlabelled")
    assert found["bad"][0] == [2, LONG]
    assert found["mb"] < MOST_MB


@pytest.mark.slow
def test_long_lines_of_a_sentence_are_bounded_together(tmp_path: Path) -> None:
    """20,000 lines of 50,000 bytes are a gigabyte, none of which is too long."""
    long = b"x" * 50_000 + b"\tO\n"
    pieces = iter([b"a\tO\n\n", *[long] * 19_990, b"\nb\tB-PER\n\n"])
    found = went(packed(tmp_path / "a.conll.zst", pieces), "token")
    assert found["bad"][0] == [3, LONG.replace("the row", "the sentence", 1)]
    assert found["good"] == 2
    assert found["mb"] < MOST_MB


@pytest.mark.slow
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


@pytest.mark.slow
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
