"""Columns of words and tags: what is read off the lines, for each way that people write them."""

from collections.abc import Mapping

import pytest

from xlt_ray.data.readers.columns import ColumnFormat, Columns, columns_of
from xlt_ray.data.readers.layouts import Notation
from xlt_ray.data.readers.rows import RowError
from xlt_ray.labels import LabelSet

PLAIN = Notation("", "bio", {})
LABELS = LabelSet(("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
WORDS = (("Ada", "Byron", "wrote", "."), ("In", "Rome"))
TAGS = (("B-PER", "I-PER", "O", "O"), ("O", "B-LOC"))


def file_of(text: str) -> list[bytes]:
    return text.encode().split(b"\n")


def read(
    lines: list[bytes], *, tabs: bool = False, named: Mapping[str, str] | None = None
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Words and tags of each sentence."""
    layout = columns_of(iter(lines), PLAIN, tabs=tabs, named=named or {})
    found = []
    for _, raw in layout.rows(lines):
        text = layout.text(raw)
        assert text.tokens is not None
        ids = layout.labels(raw, text, LABELS)
        found.append((text.tokens, tuple(LABELS.names[label] for label in ids)))
    return found


def written(line: str, *, between: str = "", before: str = "") -> list[bytes]:
    """The two sentences, a line per word; {i} counts from 1."""
    parts = [
        "\n".join(
            line.format(w=word, t=tag, i=number)
            for number, (word, tag) in enumerate(zip(*sentence, strict=True), 1)
        )
        for sentence in zip(WORDS, TAGS, strict=True)
    ]
    return file_of("".join(f"{before}{part}\n{between}\n" for part in parts))


@pytest.mark.parametrize(
    "lines",
    [
        written("{w}\t{t}"),
        written("{w} {t}"),
        written("{w}\t{t}", between=" \t "),
        written("{w}\t{t}\t"),
        written("{w} {t}  "),
        written("{w}      XX   O    {t}"),
        written("{w}\tNNP\tB-NP\t{t}"),
        written("{i}\t{w}\t{t}\tO", before="#\tpage 3 [2020-01-01]\n"),
        written("{i}\t{w}\t{t}\t-\tann", before="# sent_id = a\n# text = Ada Byron wrote .\n"),
        written("{i} {w} XX {t}"),
        written("{i} {w} NNP B-NP {t}"),
        written("{w} _ _ {t}", before="# id 5239\tdomain=en\n"),
        written("{w} {t}", before="# a sentence\n"),
        written("{w}\t{t}\t0.98"),
        file_of("word\ttag\n") + written("{w}\t{t}"),
        file_of("Token POS NER_TAG") + written("{w} NN {t}"),
        file_of("-DOCSTART- -X- O O\n") + written("{w} NN B-NP {t}"),
    ],
    ids=range(17),
)
def test_every_way_to_write_the_same_is_read_alike(lines: list[bytes]) -> None:
    assert read(lines) == list(zip(WORDS, TAGS, strict=True))


def test_a_hash_is_a_word_where_it_has_a_tag_as_words_have() -> None:
    assert read(file_of("#\tO\nAda\tB-PER\n#\tO\n\n#\tO\n\nx\tO\n"))[1] == (("#",), ("O",))
    assert read(file_of("# O\nAda B-PER\n\nx O\n"))[0] == (("#", "Ada"), ("O", "B-PER"))
    lines = file_of("#ada\n#\nx\n\n# a comment\ny\n")
    layout = columns_of(iter(lines), PLAIN, tabs=False)
    assert [layout.text(raw).tokens for _, raw in layout.rows(lines)] == [
        ("#ada", "#", "x"),
        ("y",),
    ]


def test_a_hash_within_a_sentence_is_no_comment() -> None:
    layout = columns_of(iter(file_of("a\tO\n# b\n")), PLAIN, tabs=False)
    ((_, raw),) = layout.rows(file_of("a\tO\n# b\n"))
    with pytest.raises(RowError, match="missing tag after token '# b', needed: token, TAB, tag"):
        layout.labels(raw, layout.text(raw), LABELS)


@pytest.mark.parametrize(
    ("named", "line"),
    [
        ({"token": "2", "tag": "-1"}, "7\t{w}\tO\t{t}"),
        ({"tokens": "1", "tags": "2"}, "{w}\t{t}\tB-PER"),
        ({"tag": "1", "token": "2"}, "{t} {w}"),
        ({"token": "-1", "tag": "1"}, "{t} {w}"),
    ],
)
def test_columns_can_be_named_by_number(named: dict[str, str], line: str) -> None:
    assert read(written(line), named=named) == list(zip(WORDS, TAGS, strict=True))


def test_columns_can_be_named_by_the_first_line() -> None:
    lines = file_of("id;surface;gold".replace(";", "\t")) + written("x\t{w}\t{t}")
    named = {"token": "surface", "tag": "gold"}
    assert read(lines, named=named) == list(zip(WORDS, TAGS, strict=True))


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"token": "3"}, "files.columns.token: is 3, allowed: 1 to 2, or -1 to -2 from the last"),
        ({"tag": "0"}, "files.columns.tag: is 0, allowed: 1 to 2"),
        ({"tags": "gold"}, "files.columns.tags: no column 'gold' in the first line"),
    ],
)
def test_a_column_that_is_not_there_is_an_error(named: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        columns_of(iter(file_of("a\tO\n")), PLAIN, tabs=False, named=named)


@pytest.mark.parametrize(
    ("lines", "tabs", "expected"),
    [
        ([b"a\tO"], False, Columns(b"\t", 2, 0, 1)),
        ([b"a b O", b"", b"c d O", b"e O"], False, Columns(b" ", 3, 0, 2)),
        ([b"a b"], True, Columns(b"\t", 2, alone=True)),
        ([b"a b c", b"d\te\tf\tO"], False, Columns(b"\t", 4, 0, 3)),
        ([], False, Columns(b" ", 2)),
    ],
)
def test_columns_are_found_out(lines: list[bytes], tabs: bool, expected: Columns) -> None:
    """The separator, and the number that most lines have, the larger one where two are as many."""
    assert columns_of(iter(lines), PLAIN, tabs=tabs) == ColumnFormat(PLAIN, expected)


def test_numbers_that_are_words_are_not_counted_off() -> None:
    """Sentences of a number and its tags, and numbers that do not begin at each sentence."""
    lines = file_of("1 CD O\n\n1 CD O\n\n2 CD O\n")
    assert [words for words, _ in read(lines)] == [("1",), ("1",), ("2",)]
    running = file_of("1 Ada B-PER\n2 wrote O\n\n3 In O\n4 Rome B-LOC\n")
    assert [words for words, _ in read(running)] == [("1", "2"), ("3", "4")]
