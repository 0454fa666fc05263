"""SemEval's reviews: words and terms by hand, every year's shape, and what is refused."""

from pathlib import Path

import pytest

from xlt_ray.data.benchmarks.registry import benchmark_of
from xlt_ray.data.readers.absa_xml import AbsaXml, bio_of_terms
from xlt_ray.data.readers.files import FORMATS, FileSource
from xlt_ray.data.readers.layouts import Notation
from xlt_ray.data.readers.rows import RowError
from xlt_ray.data.schema import BadRow, Example
from xlt_ray.labels import LabelSet
from xlt_ray.run.check import configure_run

LABELS = LabelSet(("O", "B-ASP", "I-ASP"))
REVIEWS = """<?xml version="1.0" encoding="UTF-8"?>
<Reviews><Review rid="1"><sentences>
<sentence id="1:0"><text>The sushi rolls weren't bad &amp; the
wait staff was kind.</text><Opinions>
<Opinion target="sushi rolls" category="FOOD#QUALITY" polarity="positive" from="4" to="15"/>
<Opinion target="sushi rolls" category="FOOD#PRICES" polarity="negative" from="4" to="15"/>
<Opinion target="wait staff" category="SERVICE" polarity="positive" from="34" to="44"/>
<Opinion target="NULL" category="AMBIENCE" polarity="positive" from="0" to="0"/>
</Opinions></sentence>
<sentence id="1:1" OutOfScope="TRUE"><text>Привет!</text></sentence>
<sentence id="1:2"><text>Good food</text><Opinions>
<Opinion target="drink" category="x" polarity="y" from="5" to="9"/></Opinions></sentence>
<sentence id="1:3"><text> </text></sentence>
</sentences></Review></Reviews>
"""
OF_2014 = """<sentences><sentence id="3"><text>Great pasta here</text><aspectTerms>
<aspectTerm term="pasta" polarity="positive" from="6" to="11"/></aspectTerms></sentence></sentences>
"""


def read(folder: Path, text: str) -> list[Example | BadRow]:
    (folder / "en").mkdir(parents=True, exist_ok=True)
    (folder / "en/train.xml").write_text(text, encoding="utf-8")
    source = FileSource(str(folder), "en", "train", task="token")
    return list(source.examples(LABELS))


def test_words_and_terms(tmp_path: Path) -> None:
    first, second, *bad = read(tmp_path, REVIEWS)
    assert isinstance(first, Example)
    assert first.tokens == (
        "The", "sushi", "rolls", "weren", "'", "t", "bad", "&", "the", "wait", "staff", "was",
        "kind", ".",
    )  # fmt: skip
    assert first.labels == (0, 1, 2, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0)
    assert isinstance(second, Example)
    assert (second.tokens, second.labels) == (("Привет", "!"), (0, 0))
    assert all(isinstance(item, BadRow) for item in bad)
    reasons = [item.reason for item in bad if isinstance(item, BadRow)]
    assert "term 'drink', but 'food' is at its place" in reasons[0]
    assert len(reasons) == 2


def test_the_shape_of_2014(tmp_path: Path) -> None:
    (only,) = read(tmp_path, OF_2014)
    assert isinstance(only, Example)
    assert (only.tokens, only.labels) == (("Great", "pasta", "here"), (0, 1, 0))


def test_terms_that_touch_a_word_in_part_or_each_other() -> None:
    text = "fish-and-chips shop"
    assert bio_of_terms(text, [{"target": "fish", "from": "0", "to": "4"}])[:3] == [
        "B-ASP",
        "O",
        "O",
    ]
    parts = [
        {"target": "fish-and", "from": "0", "to": "8"},
        {"target": "and-chips", "from": "5", "to": "14"},
    ]
    assert bio_of_terms(text, parts) == ["B-ASP", *["I-ASP"] * 4, "O"]
    assert bio_of_terms(text, [{"term": "sh", "from": "2", "to": "4"}])[0] == "B-ASP"


@pytest.mark.parametrize("place", ["x", "-1", "", "99", "9" * 40])
def test_places_outside_the_text_are_bad(place: str) -> None:
    with pytest.raises(RowError, match="of a term, needed: a place in the text"):
        bio_of_terms("good food", [{"target": "food", "from": "5", "to": place}])


BOMB = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<sentences><sentence><text>&b;</text></sentence></sentences>
"""
OUTSIDE = """<!DOCTYPE a SYSTEM "file:///etc/hostname">
<sentences><sentence><text>a</text></sentence></sentences>
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, r"line 2: a document type \(<!DOCTYPE\) is not read"),
        (OUTSIDE, r"line 1: a document type \(<!DOCTYPE\) is not read"),
        ("<sentences><sentence><text>a</text>", "no valid XML: no element found"),
        ("<a>&unknown;</a>", "line 1: no valid XML: undefined entity"),
        (
            '<?xml version="1.0" encoding="none-such"?><a/>',
            "line 1: no valid XML: unknown encoding",
        ),
        ("plain text\n", "line 1: no valid XML: syntax error"),
        ("<sentences></sentences>", "is empty"),
    ],
)
def test_what_is_no_such_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_a_sentence_is_held_up_to_the_most_that_a_row_may_have() -> None:
    words = "\n".join(["word"] * 100)
    text = f"<s><sentence><text>{words}</text></sentence><sentence><text>b</text></sentence></s>"
    layout = AbsaXml(Notation("", "bio", {}))
    rows = list(layout.rows((line.encode() for line in text.split("\n")), most=200))
    assert [number for number, _ in rows] == [1, 100]
    with pytest.raises(RowError, match="more than 200 bytes"):
        layout.text(rows[0][1])
    assert layout.text(rows[1][1]).tokens == ("b",)


@pytest.mark.parametrize("begin", ['<a b="', "<!-- ", "<?a "])
def test_a_tag_or_comment_without_an_end_is_not_kept_until_the_file_ends(begin: str) -> None:
    layout, lines = AbsaXml(Notation("", "bio", {})), iter([begin, *["x" * 50] * 100])
    with pytest.raises(ValueError, match=r"line 6: .* is longer than 200 bytes"):
        list(layout.rows((line.encode() for line in lines), most=200))
    assert len(list(lines)) == 95


def test_a_sentence_of_terms_without_end_is_bad() -> None:
    text = f"<s><sentence><text>a</text>{'<Opinion/>' * 100}</sentence></s>"
    layout = AbsaXml(Notation("", "bio", {}))
    ((_, row),) = layout.rows([text.encode()], most=2000)
    assert len(row.terms) == 100
    ((_, row),) = layout.rows([text.encode()], most=200)
    assert len(row.terms) < 100
    with pytest.raises(RowError, match="more than 200 bytes"):
        layout.text(row)


def test_a_term_without_letters_is_none() -> None:
    assert bio_of_terms("great food", [{"target": "", "from": "2", "to": "2"}]) == ["O", "O"]


def test_it_is_a_format_of_files() -> None:
    assert FORMATS["xml"].name == "absa_xml"


def test_files_of_a_users_own_have_their_task_and_labels_read_off(tmp_path: Path) -> None:
    path = tmp_path / "train.xml"
    path.write_text(REVIEWS, encoding="utf-8")
    values = {
        "benchmark": {"name": "files"},
        "backbone": "toy",
        "method": {"name": "bl_direct"},
        "files": {"paths": {"en": {"train": str(path), "dev": str(path), "test": str(path)}}},
        "data": {"max_bad_fraction": 0.9},
    }
    benchmark = benchmark_of(configure_run(values))
    assert benchmark.task == "token"
    assert benchmark.labels == ("O", "B-ASP", "I-ASP")
