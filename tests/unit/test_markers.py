"""Entities in brackets through a translation, with whatever texts there are."""

from collections.abc import Sequence

import pytest

from xlt_ray.data.projection.markers import PAIRS, found_in, marked, pairs_of
from xlt_ray.data.projection.rejection import Reason, Rejected
from xlt_ray.labels import Span, bio_spans


def spans_of(tags: str) -> list[Span]:
    return bio_spans(tags.split())


def reason_of(translation: str, words: str, tags: str) -> Reason:
    with pytest.raises(Rejected) as caught:
        found_in(translation, words.split(), spans_of(tags), "marks")
    return caught.value.reason


def seen(translation: str, words: str, tags: str) -> list[tuple[str, str]]:
    """Type and words of each entity of a translation."""
    found, spans = found_in(translation, words.split(), spans_of(tags), "marks")
    return [(span.type, " ".join(found[span.start : span.end])) for span in spans]


ASHA = ("Asha Juma lives in Mombasa .", "B-PER I-PER O O B-LOC O")


def test_each_type_has_brackets_of_its_own() -> None:
    text = marked(ASHA[0].split(), spans_of(ASHA[1]))
    assert text == "[Asha Juma] lives in {Mombasa} ."


def test_entities_may_change_places() -> None:
    found, spans = found_in(
        "Katika {Mombasa} anaishi [Asha Juma].", ASHA[0].split(), spans_of(ASHA[1]), "marks"
    )
    assert found == ("Katika", "Mombasa", "anaishi", "Asha", "Juma", ".")
    assert spans == (Span("LOC", 1, 2), Span("PER", 3, 5))


def test_entities_at_the_ends_and_side_by_side() -> None:
    words, tags = "Asha Juma Mombasa", "B-PER B-PER B-LOC"
    assert marked(words.split(), spans_of(tags)) == "[Asha] [Juma] {Mombasa}"
    assert seen("{Mombasa} [Asha] [Juma]", words, tags) == [
        ("LOC", "Mombasa"), ("PER", "Asha"), ("PER", "Juma"),
    ]  # fmt: skip


def test_the_same_name_may_be_there_twice() -> None:
    words, tags = "Asha saw Asha and Asha", "B-PER O B-PER O B-LOC"
    assert marked(words.split(), spans_of(tags)) == "[Asha] saw [Asha] and {Asha}"
    found = seen("{Asha} na [Asha] [Asha]", words, tags)
    assert found == [("LOC", "Asha"), ("PER", "Asha"), ("PER", "Asha")]


def test_brackets_of_the_text_are_not_taken() -> None:
    words, tags = "Asha [ sic ] lives in Mombasa {", "B-PER O O O O O B-LOC O"
    text = marked(words.split(), spans_of(tags))
    assert text == "(Asha) [ sic ] lives in <Mombasa> {"
    found = seen("(Asha) [sic] {anaishi <Mombasa>", words, tags)
    assert found == [("PER", "Asha"), ("LOC", "Mombasa")]


def test_wide_brackets_of_the_text_are_not_taken_either() -> None:
    assert pairs_of(["【", "Asha"], [Span("PER", 1, 2)]) == {"PER": ("{", "}")}


def test_a_text_that_has_all_brackets_has_no_marker() -> None:
    words = ["".join(opening for opening, _ in PAIRS), "Asha"]
    with pytest.raises(Rejected) as caught:
        marked(words, [Span("PER", 1, 2)])
    assert caught.value.reason == "no marker is free"


def test_right_to_left_text_keeps_its_logical_order() -> None:
    """Brackets are mirrored where they are shown, and nowhere else."""
    assert seen("تعيش [آشا جمعة] في {مومباسا} .", *ASHA) == [
        ("PER", "آشا جمعة"), ("LOC", "مومباسا"),
    ]  # fmt: skip
    assert marked(["אשה", "גרה"], [Span("PER", 0, 1)]) == "[אשה] גרה"


def test_a_word_that_a_bracket_cuts_is_of_the_entity() -> None:
    """Case endings, articles and prepositions that are written together with a name."""
    assert seen("[Asha Juma] {Mombasa}ssa.", *ASHA)[1] == ("LOC", "Mombasassa")
    assert seen("[אשה] ב{מומבסה}", *ASHA)[1] == ("LOC", "במומבסה")


def test_text_without_blanks() -> None:
    words = ["北", "京", "很", "大"]
    text = marked(words, [Span("LOC", 0, 2)])
    assert text == "[北京]很大"
    found, spans = found_in("【東京】は大きい", words, [Span("LOC", 0, 2)], "marks")
    assert found[:3] == ("東", "京", "は")
    assert spans == (Span("LOC", 0, 2),)


def test_blanks_beside_brackets_are_no_words() -> None:
    assert seen("[ Asha Juma ] huishi { Mombasa } .", *ASHA) == [
        ("PER", "Asha Juma"), ("LOC", "Mombasa"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("translation", "reason"),
    [
        ("Asha Juma anaishi Mombasa .", "marker lost"),
        ("[Asha Juma] anaishi Mombasa .", "marker lost"),
        ("[Asha Juma anaishi {Mombasa} .", "marker lost"),
        ("Asha Juma] anaishi {Mombasa} .", "marker lost"),
        ("[Asha] [Juma] anaishi {Mombasa} .", "marker lost"),
        ("[Asha {Juma] Mombasa}", "marker lost"),
        ("[] anaishi {Mombasa} .", "marker lost"),
        ("[Asha {Mombasa} Juma]", "marker lost"),
        ("[Asha}{Mombasa]", "marker lost"),
        ("[Asha Ju]ma{Mombasa}", "two entities overlap"),
        ("[]{}", "empty translation"),
        (" ", "empty translation"),
    ],
)
def test_what_is_broken_is_rejected(translation: str, reason: Reason) -> None:
    assert reason_of(translation, *ASHA) == reason


def test_without_entities_brackets_are_text() -> None:
    found, spans = found_in("Yeye [sic] huishi .", ["She", "lives", "."], [], "marks")
    assert found == ("Yeye", "[", "sic", "]", "huishi", ".")
    assert spans == ()


def test_what_is_marked_is_found_again() -> None:
    texts: Sequence[tuple[str, str]] = (
        ASHA, ("a", "B-X"), ("a b", "B-X I-X"), ("[ a ] b", "O B-X O B-Y"), ("a b c", "O O O"),
    )  # fmt: skip
    for words, tags in texts:
        own = words.split()
        found, spans = found_in(marked(own, spans_of(tags)), own, spans_of(tags), "marks")
        assert list(found) == own
        assert list(spans) == spans_of(tags)
