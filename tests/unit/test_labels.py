"""Tags, spans and label sets; seqeval reads the same spans."""

import re
import subprocess
import sys
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from xlt_ray.labels import (
    LabelSet,
    Span,
    bio_spans,
    bio_spans_of_ids,
    has_orphan,
    has_orphan_of_ids,
    spans_to_bio,
    to_bio,
)

NER = LabelSet(("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"))
TAGS = st.lists(st.sampled_from(NER.names), max_size=12)
TYPES = st.sampled_from(["PER", "ORG", "LOC-GEO"])


@st.composite
def spans_and_length(draw: st.DrawFn) -> tuple[list[Span], int]:
    """Disjoint spans in order, possibly touching."""
    spans: list[Span] = []
    position = draw(st.integers(0, 2))
    for _ in range(draw(st.integers(0, 4))):
        end = position + draw(st.integers(1, 3))
        spans.append(Span(draw(TYPES), position, end))
        position = end + draw(st.integers(0, 2))
    return spans, position


def iob1_of(spans: list[Span], length: int) -> list[str]:
    tags = ["O"] * length
    for span in spans:
        touches = any(one.end == span.start and one.type == span.type for one in spans)
        tags[span.start : span.end] = [f"I-{span.type}"] * (span.end - span.start)
        if touches:
            tags[span.start] = f"B-{span.type}"
    return tags


def bioes_of(spans: list[Span], length: int) -> list[str]:
    tags = ["O"] * length
    for span in spans:
        letters = "S" if span.end - span.start == 1 else f"B{'I' * (span.end - span.start - 2)}E"
        tags[span.start : span.end] = [f"{letter}-{span.type}" for letter in letters]
    return tags


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True)
@given(TAGS)
def test_spans_are_those_of_seqeval_also_with_orphans(tags: list[str]) -> None:
    expected = cast("list[tuple[str, int, int]]", get_entities(tags))
    assert [(span.type, span.start, span.end - 1) for span in bio_spans(tags)] == expected


@settings(deadline=None, derandomize=True)
@given(TAGS)
def test_a_sequence_has_an_orphan_unless_its_spans_spell_it(tags: list[str]) -> None:
    assert has_orphan(tags) == (spans_to_bio(bio_spans(tags), len(tags)) != tags)


@settings(deadline=None, derandomize=True)
@given(spans_and_length())
def test_spans_survive_every_scheme(drawn: tuple[list[Span], int]) -> None:
    spans, length = drawn
    bio = spans_to_bio(spans, length)
    assert bio_spans(bio) == spans
    assert not has_orphan(bio)
    assert to_bio(bio, "bio") == bio
    assert to_bio(iob1_of(spans, length), "iob1") == bio
    assert to_bio(bio, "iob1") == bio
    assert to_bio(bioes_of(spans, length), "bioes") == bio


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, len(NER) - 1), max_size=12))
def test_ids_mean_their_names(ids: list[int]) -> None:
    tags = [NER.names[label] for label in ids]
    assert bio_spans_of_ids(ids, NER) == bio_spans(tags)
    assert has_orphan_of_ids(ids, NER) == has_orphan(tags)


def test_hand_written_sequences() -> None:
    assert bio_spans([]) == []
    tags = ["I-PER", "I-PER", "I-ORG", "O", "B-ORG", "B-ORG", "I-LOC"]
    assert bio_spans(tags) == [
        Span("PER", 0, 2),
        Span("ORG", 2, 3),
        Span("ORG", 4, 5),
        Span("ORG", 5, 6),
        Span("LOC", 6, 7),
    ]
    assert to_bio(["I-A", "I-A", "B-A", "I-B", "O", "I-A"], "iob1") == [
        "B-A", "I-A", "B-A", "B-B", "O", "B-A",
    ]  # fmt: skip
    assert to_bio(["O", "E-A", "S-A", "I-A"], "bioes") == ["O", "I-A", "B-A", "I-A"]


@pytest.mark.parametrize("tag", ["", "PER", "B-", "-PER", "S-PER", "b-PER", "BI-PER", "O-PER"])
def test_a_tag_outside_bio_is_named(tag: str) -> None:
    for read in (bio_spans, has_orphan):
        with pytest.raises(ValueError, match=re.escape(f"tag {tag!r} at position 1")):
            read(["O", tag])


def test_spans_that_cannot_be_tagged_are_refused() -> None:
    for spans in ([Span("A", 0, 3)], [Span("A", -1, 1)], [Span("A", 1, 1)]):
        with pytest.raises(ValueError, match="does not fit into 2 words"):
            spans_to_bio(spans, 2)
    with pytest.raises(ValueError, match="overlaps"):
        spans_to_bio([Span("A", 0, 2), Span("B", 1, 2)], 2)


def test_a_bio_label_set_knows_its_types() -> None:
    assert NER.is_bio
    assert NER.outside == 0
    assert len(NER) == 7
    assert NER.index("I-ORG") == 4
    assert NER.entity_types == ("PER", "ORG", "LOC")
    assert NER.class_types == (None, "PER", "PER", "ORG", "ORG", "LOC", "LOC")
    assert LabelSet(("B-X", "O", "I-X")).outside == 1


def test_other_label_sets_have_no_types() -> None:
    for names in (("yes", "no"), ("B-PER", "I-PER"), ("O", "B-"), ("O", "NOUN")):
        labels = LabelSet(names)
        assert not labels.is_bio
        assert labels.entity_types == ()
        assert labels.class_types == (None, None)


def test_label_sets_refuse_what_cannot_be_an_index() -> None:
    with pytest.raises(ValueError, match=r"unknown label 'MISC', allowed: O, B-PER"):
        NER.index("MISC")
    with pytest.raises(ValueError, match="unknown label 'O'"):
        _ = LabelSet(("yes", "no")).outside
    names: tuple[Any, ...]
    for names in ((), ("a", "a")):
        with pytest.raises(ValueError, match="distinct"):
            LabelSet(names)


def test_importing_labels_loads_no_array_library() -> None:
    code = (
        "import sys, xlt_ray.labels\n"
        "assert not {'torch', 'ray', 'numpy'} & sys.modules.keys(), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
