"""Layouts apart from any file: lines are gathered into sentences, columns are found out."""

import pytest

from xlt_ray.data.readers import layouts
from xlt_ray.data.readers.columns import ColumnFormat, Columns
from xlt_ray.data.readers.layouts import JsonlFormat, Notation, Sentence, sentences
from xlt_ray.data.readers.rows import RowError, Text

PLAIN = Notation("", "bio", {})


def test_sentences_keep_the_numbers_of_their_lines() -> None:
    """Line 2 was left out, lines 4, 5 and 7 separate."""
    lines = [(1, b"a"), (3, b"b"), (4, None), (5, None), (6, b"c"), (7, None)]
    found = [Sentence([b"a", b"b"], [1, 3]), Sentence([b"c"], [6])]
    assert list(sentences(lines)) == found
    assert list(sentences(lines[:-1])) == found
    assert list(sentences([])) == []


def test_long_sentences_are_cut_and_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "MAX_SENTENCE", 2)
    lines = [(1, b"a"), (2, b"b"), (3, None), *((number, b"c") for number in range(4, 9))]
    whole, cut = sentences(lines)
    assert whole == Sentence([b"a", b"b"], [1, 2])
    assert cut == Sentence([b"c", b"c"], [4, 5], lost="lines")
    whole.check_whole()
    with pytest.raises(RowError, match="no empty line in 2 lines, one must end each sentence"):
        cut.check_whole()


def test_tokens_know_their_lines() -> None:
    layout = ColumnFormat(PLAIN, Columns())
    (row,) = layout.rows([b"", b"-DOCSTART-\tO", b"a\tO", b"b\tO"])
    assert row == (3, Sentence([b"a\tO", b"b\tO"], [3, 4]))
    assert [layout.token_line(row[1], position) for position in (0, 1)] == [3, 4]
    assert JsonlFormat(PLAIN, "token").token_line({"tokens": ["a"]}, 0) is None


def test_a_fault_waits_for_words_before_it() -> None:
    assert PLAIN.words([b"a", b"b c"]) == Text(tokens=("a", "b c"))
    fault = RowError("later", 1)
    for words, reason in ([b"a"], "later"), ([], "later"), ([b"\xe9"], "not valid UTF-8"):
        with pytest.raises(RowError, match=reason):
            PLAIN.words(words, fault)
    with pytest.raises(RowError, match="no tokens"):
        PLAIN.words([])
