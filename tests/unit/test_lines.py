"""Lines up to a length, sizes of rows, and a bound that is set."""

import gzip
import io
from pathlib import Path

import pyarrow as pa
import pytest

from xlt_ray.data.readers.files import FileSource
from xlt_ray.data.readers.lines import Overlong, lines_of
from xlt_ray.data.readers.tables import sizes_of
from xlt_ray.data.readers.user_files import UserSource
from xlt_ray.data.schema import BadRow, Example
from xlt_ray.labels import LabelSet

REST = "\t_" * 6


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
        source = UserSource((str(tmp_path / name),), "de", "unlabelled", "token", row_bytes=1024)
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
