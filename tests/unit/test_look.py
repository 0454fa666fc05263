"""Pages with sentences: what is in one colour, what a row is filtered by, what a page holds."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest

from xlt_ray.commands.run_texts import ROUND, drawn
from xlt_ray.data.readers.words import gap
from xlt_ray.report.look import (
    TEST,
    UNLABELLED,
    Counts,
    Row,
    Said,
    colours,
    look_index,
    look_page,
    pieces,
    tip,
)
from xlt_ray.store.artifacts import Artifact, Store

WORDS = ("Anna", "Lee", "saw", "Paris")
BIO = ("B-PER", "I-PER", "O", "B-LOC")


def row(final: tuple[str, ...] = BIO, **keys: object) -> Row:
    values = {"part": TEST, "words": WORDS, "zero_shot": Said(BIO), "final": Said(final)} | keys
    return Row(**values)  # type: ignore[arg-type]


def test_entities_are_pieces_and_so_is_what_is_between() -> None:
    found = pieces(WORDS, Said(BIO, (0.9, 0.8, 0.99, 0.7)), bio=True)
    assert [(x.text, x.label, x.tip, x.gap) for x in found] == [
        ("Anna Lee", "PER", "80%", " "),
        ("saw", "", "", " "),
        ("Paris", "LOC", "70%", ""),
    ]


def test_words_with_other_classes_are_pieces_one_by_one() -> None:
    found = pieces(("a", "b"), Said(("NOUN", "O")), bio=False)
    assert [(x.text, x.label) for x in found] == [("a", "NOUN"), ("b", "O")]


def test_all_words_are_shown_with_the_gaps_of_their_script() -> None:
    words = ("他", "在", "北", "京", "2008", "Olympics")
    found = pieces(words, Said(("O", "O", "B-LOC", "I-LOC", "O", "O")), bio=True)
    assert "".join(x.text + x.gap for x in found) == "他在北京 2008 Olympics"
    assert gap("กรุง", "เทพ") == ""
    assert gap("در", "تهران") == " "


def test_a_tip_names_the_candidates_where_there_are_several() -> None:
    said = Said(("B-PER", "I-PER"), (0.5, 0.4), (("B-PER", "B-ORG"), ("I-PER",)))
    assert tip(said, 0, 2) == "40%; B-PER or B-ORG"
    assert tip(Said(("O",)), 0, 1) == ""


def test_a_row_is_filtered_by_what_holds_of_it() -> None:
    other = ("O", "O", "O", "B-LOC")
    assert row().kinds == ("test",)
    assert row(other).kinds == ("test", "changed")
    assert row(gold=Said(other)).kinds == ("test", "wrong")
    assert row(gold=Said(BIO)).kinds == ("test",)
    rounds = {1: Said(BIO), 2: Said(other)}
    moved = row(part=UNLABELLED, rounds=rounds)
    assert moved.kinds == ("unlabelled", "moved")
    assert [who for who, _ in moved.lines()] == ["final", "round 1", "round 2"]
    assert [who for who, _ in row(other, gold=Said(BIO)).lines()] == ["final", "zero-shot", "gold"]


def test_what_is_counted_is_none_where_there_is_nothing_to_compare() -> None:
    counts = Counts.of("sw", [row(), row(("O",) * 4)])
    assert (counts.rows, counts.changed, counts.wrong, counts.moved) == (2, 1, None, None)
    counts = Counts.of("sw", [row(gold=Said(BIO)), row(rounds={1: Said(BIO), 2: Said(BIO)})])
    assert (counts.wrong, counts.moved) == (0, 0)


@pytest.mark.parametrize(
    ("words", "direction"),
    [
        (("باريس", "2008", "(", "x", ")"), "rtl"),
        (("שלום",), "rtl"),
        (WORDS, "ltr"),
        (("12",), "ltr"),
    ],
)
def test_a_row_runs_as_most_of_its_letters_do(words: tuple[str, ...], direction: str) -> None:
    said = Said(("O",) * len(words))
    assert Row(TEST, words, said, said).direction == direction


class Checked(HTMLParser):
    """Fails where a tag is not closed, and keeps what would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.fetched, self.tips = list[str](), list[str](), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.fetched += [x for x in (values.get("src"), values.get("srcset")) if x]
        self.tips += [x for x in [values.get("data-tip")] if x]
        if tag not in ("meta", "input", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(page: str) -> Checked:
    found = Checked()
    found.feed(page)
    assert not found.open
    assert not found.fetched
    return found


def test_a_page_shows_text_as_text() -> None:
    words = ("<script>alert(1)</script>", "\"&'")
    said = Said(("B-<b>", "O"), (0.25, 1.0))
    rows = [Row(TEST, words, said, said, Said(("O", "O")))]
    page = look_page("r<i>", "sw", ["sw", "ar"], rows, token=True, bio=True, before="zero-shot")
    assert checked(page).tips == ["<b> 25%"]
    assert "<script>alert" not in page
    assert page.count("<script") == 1
    assert "final and gold differ" in page
    assert 'value="moved"' not in page
    assert '<a href="ar.html">ar</a>' in page


@pytest.mark.parametrize("words", [("a text",), ("a premise", "a hypothesis")])
def test_a_page_of_texts_has_their_class_once_per_line(words: tuple[str, ...]) -> None:
    rows = [Row(TEST, words, Said(("no",), (0.6,)), Said(("yes",), (0.9,)), Said(("no",)))]
    page = look_page("r", "sw", ["sw"], rows, token=False, bio=False, before="few-shot")
    assert checked(page).tips == ["yes 90%", "no 60%"]
    assert "few-shot" in page
    assert "zero-shot" not in page
    assert all(page.count(text) == 1 for text in words)
    assert len(re.findall(r'<div class="line', page)) == 3
    assert "<nav" not in page, "there is one language"


def test_each_label_has_a_colour() -> None:
    assert colours([row(), row(gold=Said(("B-ORG", "O", "O", "O")))], True) == {
        "LOC": 0,
        "ORG": 1,
        "PER": 2,
    }
    assert colours([row(("O", "X", "O", "O"), zero_shot=Said(("O", "X", "O", "O")))], False) == {
        "O": 0,
        "X": 1,
    }


def test_the_first_page_links_to_each_language() -> None:
    page = look_index("r", [Counts("sw", 3, 2, None, 1), Counts("ar", 3, 2, 1, None)], "few-shot")
    checked(page)
    assert 'href="sw.html"' in page
    assert "final and few-shot differ" in page
    assert 'href="../report.html"' in page


def written(folder: Path, ids: list[str]) -> Artifact:
    store = Store(str(folder))
    attempt = store.attempt("text", "f" * 40)
    attempt.write_table("text-sw.parquet", pa.table({"id": ids, "text": [x * 2 for x in ids]}))
    return store.commit(attempt, {"info": {}, "seconds": 0.0})


def test_rows_are_drawn_by_their_ids_whatever_their_order(tmp_path: Path) -> None:
    ids = [f"sw-{n}" for n in range(500)]
    first = drawn(written(tmp_path / "a", ids), "text-sw.parquet", 20)
    second = drawn(written(tmp_path / "b", ids[::-1]), "text-sw.parquet", 20)
    assert len(first) == 20
    assert sorted(first.to_pylist(), key=str) == sorted(second.to_pylist(), key=str)
    assert first["id"].to_pylist() != ids[:20]
    every = drawn(written(tmp_path / "c", ids[:5]), "text-sw.parquet", 20)
    assert every["id"].to_pylist() == ids[:5]
    assert len(drawn(written(tmp_path / "d", []), "text-sw.parquet", 20)) == 0


@pytest.mark.parametrize(
    ("title", "number"),
    [
        ("round 2 annotation", 2),  # of the SL loop
        ("round 12 sw annotation", 12),  # of BL-Single
        ("iteration 3 annotation", 3),  # of ST and CoNLST
        ("sw iteration 1 annotation", 1),
        ("round 2 test annotation", None),
        ("round 2 whole pool annotation", None),  # what the model of the round said afterwards
        ("sw iteration 1 whole pool annotation", None),
        ("sw iteration 1 test annotation", None),
        ("zero-shot test annotation", None),
        ("round 2 selection", None),
    ],
)
def test_what_rounds_said_of_text_is_known_by_its_title(title: str, number: int | None) -> None:
    found = ROUND.fullmatch(title)
    assert (found and int(found[1])) == number
