"""CoNLL-U and OntoNotes: what is read, what is skipped, which line is blamed for what."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.folders import NER, read, source, tokens_of, write
from xlt_ray.data.readers import layouts
from xlt_ray.data.readers.conll import bio_of_brackets
from xlt_ray.data.schema import BadRow
from xlt_ray.labels import LabelSet, Span, spans_to_bio

POS = LabelSet(("DET", "NOUN", "PUNCT", "VERB"))
CONLLU = "de/train.conllu"
GOLD = "de/train.gold_conll"
PAGE = Path(__file__).resolve().parents[2] / "docs/data.md"


def word(number: int | str, form: str, upos: str = "NOUN") -> str:
    """A line of CoNLL-U."""
    return f"{number}\t{form}\tlemma\t{upos}\t_\t_\t0\troot\t_\t_\n"


def token(form: str, entity: str = "*", *, gap: str = "   ") -> str:
    """A line of the CoNLL-2012 export, with two predicates."""
    columns = ["bc/x/00/x_0000", "0", "0", form, "NN", "(TOP*", "-", "-", "-", "Speaker#1"]
    return gap.join([*columns, entity, "(V*)", "*", "-"]) + "\n"


# CoNLL-U


TREEBANK = (
    "# newdoc id = d1\n"
    "# text = zum Haus\n"
    + word("1-2", "zum", "_")
    + word(1, "zu", "VERB")
    + word(2, "dem", "DET")
    + word("2.1", "gehen", "VERB")
    + word(3, "New York")
    + "\n\n# sent_id = 2\n"
    + word(1, "#", "PUNCT")
    + word(2, "_", "PUNCT")
)


@pytest.mark.parametrize("name", [CONLLU, "de/train.conllu.gz"])
def test_words_of_a_treebank(tmp_path: Path, name: str) -> None:
    """Lines 3 and 6 are a range and an empty node; the second sentence starts in line 11."""
    write(tmp_path, TREEBANK, name)
    good, bad = read(tmp_path, POS)
    assert not bad
    assert tokens_of(good) == [["zu", "dem", "New York"], ["#", "_"]]
    assert [row.labels for row in good] == [(3, 0, 1), (2, 2)]
    assert [(row.file, row.line) for row in good] == [(name, 3), (name, 11)]
    assert source(tmp_path).identity()["format"] == "conllu"


def test_line_ends_byte_order_mark_and_missing_last_line_end(tmp_path: Path) -> None:
    content = "\ufeff" + TREEBANK.replace("\n", "\r\n")
    write(tmp_path, content.removesuffix("\r\n"), CONLLU)
    good, bad = read(tmp_path, POS)
    assert not bad
    assert tokens_of(good) == [["zu", "dem", "New York"], ["#", "_"]]


def test_tags_of_a_treebank_change_no_text_and_no_id(tmp_path: Path) -> None:
    write(tmp_path, TREEBANK, CONLLU)
    expected, _ = read(tmp_path, None)
    assert [row.id for row in read(tmp_path, POS)[0]] == [row.id for row in expected]
    assert [row.labels for row in expected] == [None, None]
    for noise in (b"_", b"", b"\xff", b"NOUN VERB"):
        write(tmp_path, TREEBANK.encode().replace(b"PUNCT", noise), CONLLU)
        assert read(tmp_path, None) == (expected, [])
        assert [row.line for row in read(tmp_path, POS)[1]] == [11]


ALLOWED_ID = "allowed: whole (3), a range (3-4) or decimal (5.1)"
TREEBANK_FAULTS = {
    "nine columns": (word(2, "x")[:-3] + "\n", "9 columns, needed: 10 with TAB between them"),
    "eleven columns": (word(2, "x\ty"), "11 columns, needed: 10 with TAB between them"),
    "spaces": ("2 x _ NOUN _ _ 0 root _ _\n", "1 columns, needed: 10 with TAB between them"),
    "blank line": (" \n", "1 columns, needed: 10 with TAB between them"),
    "short range": (word("2-3", "x")[:-3] + "\n", "9 columns, needed: 10 with TAB between them"),
    "no number": (word("x", "x"), f"ID 'x', {ALLOWED_ID}"),
    "no ID": (word("", "x"), f"ID '', {ALLOWED_ID}"),
    "no end": (word("2-", "x"), f"ID '2-', {ALLOWED_ID}"),
    "two points": (word("2.1.1", "x"), f"ID '2.1.1', {ALLOWED_ID}"),
    "negative": (word("-2", "x"), f"ID '-2', {ALLOWED_ID}"),
    "other digits": (word("\u0662", "x"), r"ID '٢', " + ALLOWED_ID),
    "comment": ("# y\n", "comment '# y' inside a sentence, allowed: before its first line"),
    "tabbed comment": (
        word("#2", "x"),
        r"comment '#2\tx\tlemma\tNOUN\t_\t_\t0\troot\t_\t_' inside a sentence, allowed: before "
        "its first line",
    ),
    "no form": (word(2, ""), "empty token '', it needs a character other than a space"),
    "space": (word(2, " "), "empty token ' ', it needs a character other than a space"),
}
LABEL_FAULTS = {
    "no tag": (word(2, "x", "_"), "unknown tag '_', allowed: DET, NOUN, PUNCT, VERB"),
    "empty tag": (word(2, "x", ""), "unknown tag '', allowed: DET, NOUN, PUNCT, VERB"),
    "unknown tag": (word(2, "x", "N"), "unknown tag 'N', allowed: DET, NOUN, PUNCT, VERB"),
}


@pytest.mark.parametrize("fault", [*TREEBANK_FAULTS, *LABEL_FAULTS])
def test_one_bad_line_of_a_treebank(tmp_path: Path, fault: str) -> None:
    """Comments, a range and an empty node stand before the fault in line 8."""
    line, reason = (TREEBANK_FAULTS | LABEL_FAULTS)[fault]
    head = word(1, "a") + "\n# b\n# b\n" + word("1-2", "bc") + word(1, "b") + word("1.1", "z")
    write(tmp_path, f"{head}{line}{word(3, 'd')}\n{word(1, 'e')}", CONLLU)
    good, bad = read(tmp_path, POS)
    assert tokens_of(good) == [["a"], ["e"]]
    assert bad == [BadRow(CONLLU, 8, reason)]
    plain, none = read(tmp_path, None)
    if fault in LABEL_FAULTS:
        assert none == []
        assert tokens_of(plain) == [["a"], ["b", "x", "d"], ["e"]]
        assert [row.id for row in good] == [plain[0].id, plain[2].id]
    else:
        assert none == bad
        assert [row.id for row in good] == [row.id for row in plain]


def test_undecodable_words_of_a_treebank(tmp_path: Path) -> None:
    write(tmp_path, word("1-2", "x").encode() + b"1\t\xe9" + b"\t_" * 8 + b"\n", CONLLU)
    assert read(tmp_path, None)[1] == [BadRow(CONLLU, 2, r"token b'\xe9' is not valid UTF-8")]


def test_the_first_fault_of_a_sentence_is_named(tmp_path: Path) -> None:
    """A word without characters in line 1, then an ID that is none, then no tag."""
    lines = [word(1, ""), word("x", "b"), word(3, "c", "_")]
    for first, reason in enumerate(["empty token ''", "ID 'x'", "unknown tag '_'"]):
        before = "".join(word(number + 1, "a") for number in range(first))
        write(tmp_path, before + "".join(lines[first:]), CONLLU)
        good, (bad,) = read(tmp_path, POS)
        assert good == []
        assert bad.line == first + 1
        assert bad.reason.startswith(reason)


def test_a_sentence_needs_words(tmp_path: Path) -> None:
    write(tmp_path, f"# x\n{word('1-2', 'a')}\n{word(1, 'b')}\n# x\n\n", CONLLU)
    for labels in (POS, None):
        good, bad = read(tmp_path, labels)
        assert tokens_of(good) == [["b"]]
        assert bad == [BadRow(CONLLU, 2, "no tokens, a sentence needs at least one")]


def test_limit_of_a_treebank_counts_good_text(tmp_path: Path) -> None:
    rows = [word(1, "a"), word("x", "b"), word(1, "c", "_"), word(1, "d")]
    write(tmp_path, "\n".join(rows), CONLLU)
    assert tokens_of(read(tmp_path, None, limit=2)[0]) == [["a"], ["c"]]
    good, bad = read(tmp_path, POS, limit=2)
    assert tokens_of(good) == [["a"]]
    assert [row.line for row in bad] == [3, 5]


@pytest.mark.parametrize(
    ("name", "line"), [(CONLLU, word(1, "a")), (CONLLU, word("1-2", "a")), (GOLD, token("a"))]
)
def test_lost_blank_lines_do_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, line: str
) -> None:
    monkeypatch.setattr(layouts, "MAX_SENTENCE", 3)
    content = "\n" + line * 2 + (word(3, "b") if name == CONLLU else token("b")) + line
    write(tmp_path, content, name)
    for labels in (POS, None):
        reason = "no empty line in 3 lines, one must end each sentence"
        assert read(tmp_path, labels) == ([], [BadRow(name, 2, reason)])


@pytest.mark.parametrize(
    ("name", "content", "needed"),
    [
        (CONLLU, "# x\n\n# y\n", "the 10 columns of CoNLL-U and an empty line after each sentence"),
        (CONLLU, "", "the 10 columns of CoNLL-U and an empty line after each sentence"),
        (
            GOLD,
            "#begin document (x); part 000\n\n#end document\n",
            "the columns of CoNLL-2012 and an empty line after each sentence",
        ),
    ],
)
def test_empty_files(tmp_path: Path, name: str, content: str, needed: str) -> None:
    write(tmp_path, content, name)
    with pytest.raises(ValueError, match="is empty") as caught:
        read(tmp_path, POS)
    assert str(caught.value) == f"{tmp_path}/{name}: is empty; needed: {needed}"


# OntoNotes


@pytest.mark.parametrize("gap", ["   ", "\t", " \t "])
@pytest.mark.parametrize("name", [GOLD, "de/train.v4_gold_conll", "de/train.gold_conll.gz"])
def test_entities_of_the_export(tmp_path: Path, name: str, gap: str) -> None:
    """Sentences end at empty lines, at lines of blanks, and where documents end and begin."""
    first = [("Anna", "(PER*"), ("Maria", "*"), ("Ott", "*)"), ("in", "*"), ("Ulm", "(LOC)")]
    second = [("Rom", "(LOC)"), ("Bonn", "(LOC)"), ("Neu", "(LOC*"), ("Ulm", "*)"), (".", "*")]
    parts = ["".join(token(*item, gap=gap) for item in items) for items in (first, second)]
    content = f"#begin document (x); part 000\n{parts[0]}\n{parts[1]} \t\n{token('a')}"
    content += f"#end document\n#begin document (y); part 000\n{token('b')}#end document\n"
    write(tmp_path, content, name)
    good, bad = read(tmp_path, NER)
    assert not bad
    forms = [[form for form, _ in items] for items in (first, second)]
    assert tokens_of(good) == [*forms, ["a"], ["b"]]
    assert [row.labels for row in good] == [(1, 2, 2, 0, 3), (3, 3, 3, 4, 0), (0,), (0,)]
    assert [row.line for row in good] == [2, 8, 14, 17]
    assert source(tmp_path).identity()["format"] == "ontonotes"
    plain, none = read(tmp_path, None)
    assert not none
    assert [row.id for row in plain] == [row.id for row in good]


NEEDED = "needed: 11 or more: the word is column 4, its entity 11"
ALLOWED = "allowed: (TYPE*, *, *) and (TYPE)"
TAGS = "allowed: O, B-PER, I-PER, B-LOC, I-LOC"
EXPORT_FAULTS = {
    "too few columns": ([token("a"), "x 0 1 b NN *\n"], 1, f"6 columns, {NEEDED}"),
    "not closed": (
        [token("a", "(PER*"), token("b")],
        0,
        "entity '(PER*' is not closed, needed: *) at its last word",
    ),
    "not opened": (
        [token("a"), token("b", "*)")],
        1,
        "entity '*)' ends none, needed: (TYPE* before",
    ),
    "closed twice": (
        [token("a", "(PER*"), token("b", "*)"), token("c", "*)")],
        2,
        "entity '*)' ends none, needed: (TYPE* before",
    ),
    "nested": (
        [token("a", "(PER*"), token("b", "(LOC)"), token("c", "*)")],
        1,
        "entity '(LOC)' inside '(PER*', needed: *) before",
    ),
    "begun inside": (
        [token("a", "(PER*"), token("b", "(LOC*"), token("c", "*)")],
        1,
        "entity '(LOC*' inside '(PER*', needed: *) before",
    ),
    "two in a line": ([token("a", "(PER(LOC*")], 0, f"entity '(PER(LOC*', {ALLOWED}"),
    "two ends": ([token("a", "(PER*"), token("b", "*))")], 1, f"entity '*))', {ALLOWED}"),
    "no type": ([token("a", "(*")], 0, f"entity '(*', {ALLOWED}"),
    "no bracket": ([token("a", "PER")], 0, f"entity 'PER', {ALLOWED}"),
    "dash": ([token("a", "-")], 0, f"entity '-', {ALLOWED}"),
    "unknown type": ([token("a"), token("b", "(FOO)")], 1, f"unknown tag 'B-FOO', {TAGS}"),
    "unknown type, then another fault": (
        [token("a", "(FOO)"), token("b", "*)")],
        0,
        f"unknown tag 'B-FOO', {TAGS}",
    ),
    "cut off inside": (
        [token("a", "(PER*"), "x 0 1 b NN *\n"],
        1,
        f"6 columns, {NEEDED}",
    ),
}


@pytest.mark.parametrize("fault", EXPORT_FAULTS)
def test_one_bad_sentence_of_the_export(tmp_path: Path, fault: str) -> None:
    """Its text is good, and stays what it was."""
    lines, position, reason = EXPORT_FAULTS[fault]
    head = f"#begin document (x); part 000\n{token('y')}\n"
    write(tmp_path, f"{head}{''.join(lines)}\n{token('z')}#end document\n", GOLD)
    good, bad = read(tmp_path, NER)
    assert tokens_of(good) == [["y"], ["z"]]
    assert bad == [BadRow(GOLD, 4 + position, reason)]
    plain, none = read(tmp_path, None)
    assert none == []
    assert tokens_of(plain) == [["y"], [*"abc"[: len(lines)]], ["z"]]
    assert [row.id for row in good] == [plain[0].id, plain[2].id]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x 0 1\n", f"3 columns, {NEEDED}"),
        ("# y\n", f"2 columns, {NEEDED}"),
        (token("caf\udce9"), r"token b'caf\xe9' is not valid UTF-8"),
    ],
)
def test_bad_text_of_the_export(tmp_path: Path, line: str, reason: str) -> None:
    content = f"{token('a')}\n{token('b')}{line}{token('c')}"
    write(tmp_path, content.encode("utf-8", "surrogateescape"), GOLD)
    for labels in (NER, None):
        good, bad = read(tmp_path, labels)
        assert tokens_of(good) == [["a"]]
        assert bad == [BadRow(GOLD, 4, reason)]


def test_entity_column_changes_no_text_and_no_id(tmp_path: Path) -> None:
    expected = None
    for entity in ("*", "(PER)", "(PER*", "*)", "\u2028", "?"):
        write(tmp_path, token("a", entity) + "\n" + token("a", entity), GOLD)
        plain = read(tmp_path, None)
        expected = expected or plain
        assert plain == expected
        assert plain[1] == []


def test_renamed_types_of_the_export(tmp_path: Path) -> None:
    write(tmp_path, token("a", "(GPE*") + token("b", "*)"), GOLD)
    good, bad = read(tmp_path, NER, types={"GPE": "LOC"})
    assert ([row.labels for row in good], bad) == ([(3, 4)], [])


@st.composite
def spans_and_length(draw: st.DrawFn) -> tuple[list[Span], int]:
    """Disjoint spans in order, possibly touching."""
    spans: list[Span] = []
    position = draw(st.integers(0, 2))
    for _ in range(draw(st.integers(0, 4))):
        end = position + draw(st.integers(1, 3))
        spans.append(Span(draw(st.sampled_from(["PER", "WORK_OF_ART"])), position, end))
        position = end + draw(st.integers(0, 2))
    return spans, position


@pytest.mark.slow
@settings(deadline=None, derandomize=True)
@given(spans_and_length())
def test_brackets_of_spans_are_their_tags(drawn: tuple[list[Span], int]) -> None:
    spans, length = drawn
    brackets = ["*"] * length
    for span in spans:
        brackets[span.start] = f"({span.type}*"
        last = brackets[span.end - 1]
        brackets[span.end - 1] = f"({span.type})" if span.end - span.start == 1 else f"{last})"
    assert bio_of_brackets(brackets) == (spans_to_bio(spans, length), None)


def test_an_export_is_laid_out_as_the_page_says(tmp_path: Path) -> None:
    """Two files of a domain become one; automatic annotation beside them does not get in."""
    files: dict[str, Any] = {
        "train/data/english/annotations/bn/abc/00/abc_0002.gold_conll": token("b", "(LOC)"),
        "train/data/english/annotations/bn/abc/00/abc_0001.v4_gold_conll": token("a", "(PER)"),
        "train/data/english/annotations/bn/abc/00/abc_0001.v4_auto_conll": token("x"),
        "development/data/english/annotations/wb/c2e/00/c2e_0001.v4_gold_conll": token("c"),
    }
    for name, lines in files.items():
        content = f"#begin document ({name}); part 000\n{lines}#end document"
        write(tmp_path, content, f"export/data/{name}")
    blocks = re.findall(r"^```text\n(for .*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (loop,) = blocks
    for domain in ("bn", "bc", "mz", "nw", "tc", "wb"):
        for split in ("train", "development", "test"):
            folder = tmp_path / f"export/data/{split}/data/english/annotations/{domain}"
            folder.mkdir(parents=True, exist_ok=True)
    script = loop.replace("EXPORT", f"{tmp_path}/export").replace("FOLDER", str(tmp_path))
    subprocess.run(["bash", "-euc", script], check=True, timeout=60)
    good, bad = read(tmp_path / "ontonotes", NER, language="bn")
    assert not bad
    assert [(row.tokens, row.labels) for row in good] == [(("a",), (1,)), (("b",), (3,))]
    good, _ = read(tmp_path / "ontonotes", NER, language="wb", split="dev")
    assert tokens_of(good) == [["c"]]
