"""Checks of single rows, apart from any file."""

from typing import Any

import pytest

from xlt_ray.data.readers.rows import (
    RowError,
    RowIds,
    Text,
    assemble,
    check_text,
    check_tokens,
    class_id,
    labels_of,
    shown,
    tag_ids,
    text_of,
)
from xlt_ray.data.schema import BadRow, Example, Task
from xlt_ray.labels import LabelSet, Scheme

NER = LabelSet(("O", "B-PER", "I-PER"))
NLI = LabelSet(("entailment", "neutral", "contradiction"))


@pytest.mark.parametrize("token", ["#", "\u200b", "\ufeff", "\xa0", "\u2028", "1 000", "\x00"])
def test_any_character_is_a_token(token: str) -> None:
    assert check_tokens([token]) == (token,)


@pytest.mark.parametrize(
    ("tokens", "reason", "position"),
    [
        ([], "no tokens", None),
        (["a", ""], "empty token ''", 1),
        (["  "], "empty token '  '", 0),
        (["a", None], "token None is not a string", 1),
        (["a", "\ud800"], "is not valid UTF-8", 1),
    ],
)
def test_bad_tokens(tokens: list[Any], reason: str, position: int | None) -> None:
    with pytest.raises(RowError, match=reason) as caught:
        check_tokens(tokens)
    assert caught.value.position == position


def test_bad_text() -> None:
    assert check_text("\u200b", "text") == "\u200b"
    for value, reason in (
        (" \n", "empty text"),
        (3, "is not a string"),
        ("\udce9", "not valid UTF-8"),
    ):
        with pytest.raises(RowError, match=reason):
            check_text(value, "text")


@pytest.mark.parametrize(
    ("task", "record", "parts"),
    [
        ("token", {"tokens": ["a", "b"]}, ("a", "b")),
        ("sentence", {"text": "a b"}, ("a b",)),
        ("pair", {"premise": "a", "hypothesis": "b"}, ("a", "b")),
        ("pair", {"text": "a", "text_pair": "b"}, ("a", "b")),
    ],
)
def test_text_of_record(task: Task, record: dict[str, Any], parts: tuple[str, ...]) -> None:
    assert text_of(record, task).parts == parts
    assert text_of({**record, "id": 7}, task).id == "7"
    with pytest.raises(RowError, match="needed: "):
        text_of({"label": 1}, task)
    for bad in ("", True, 1.5, []):
        with pytest.raises(RowError, match="neither a string nor a whole number"):
            text_of({**record, "id": bad}, task)


def test_class_of_name_and_of_index() -> None:
    assert class_id("neutral", NLI) == class_id(1, NLI) == 1
    assert class_id(0, NLI, names=("contradiction", "neutral")) == 2
    allowed = "allowed: entailment, neutral, contradiction"
    assert class_id(1.0, NLI) == class_id(" neutral ", NLI) == 1
    assert class_id(["neutral"], NLI) == 1
    with pytest.raises(RowError, match=r"several labels, which are not supp.*, one class is"):
        class_id(["neutral", "entailment"], NLI)
    with pytest.raises(RowError, match="empty label ' ', needed: the name of a class"):
        class_id(" ", NLI)
    assert class_id(True, LabelSet(("false", "true"))) == 1
    assert class_id(2, LabelSet(("1", "2", "3"))) == 1, "a number that is a name is that class"
    for value in ("Neutral", None, True, 1.5):
        with pytest.raises(RowError, match=f"unknown label .*, {allowed}"):
            class_id(value, NLI)
    for value in (3, -1):
        with pytest.raises(
            RowError, match=f"unknown label {value}, allowed: 0 entailment, 1 neutral"
        ):
            class_id(value, NLI)
    with pytest.raises(RowError, match="unknown label 'maybe'"):
        class_id(0, NLI, names=("maybe",))


def test_tags_are_converted_from_other_schemes() -> None:
    assert tag_ids(["I-PER", "I-PER", "B-PER", "O"], NER, scheme="iob1") == (1, 2, 1, 0)
    assert tag_ids(["B-PER", "I-PER", "E-PER", "S-PER"], NER, scheme="bioes") == (1, 2, 2, 1)
    assert tag_ids(["I-PER", "O"], NER) == (2, 0)


@pytest.mark.parametrize(
    ("scheme", "tag", "allowed"),
    [
        ("bio", "B-FOO", "O, B-PER, I-PER"),
        ("iob1", "S-PER", "O, B-PER, I-PER"),
        ("bioes", "S-FOO", "O, B-PER, I-PER, E-PER, S-PER"),
    ],
)
def test_unknown_tag_names_what_was_written(scheme: Any, tag: str, allowed: str) -> None:
    with pytest.raises(RowError) as caught:
        tag_ids(["O", tag], NER, scheme=scheme)
    assert caught.value.reason == f"unknown tag '{tag}', allowed: {allowed}"
    assert caught.value.position == 1


def test_labels_of_record() -> None:
    text = Text(tokens=("a", "b"))
    for name in ("tags", "labels", "ner_tags"):
        assert labels_of({name: ["O", "I-PER"]}, "token", text, NER) == (0, 2)
        assert labels_of({name: [0, 2]}, "token", text, NER) == (0, 2)
    assert labels_of({"label": "neutral"}, "pair", text, NLI) == 1
    for record, reason in (
        ({}, "no label field, needed: tags or labels or ner_tags"),
        ({"tags": [0, 0], "labels": [0, 0]}, "label fields tags, labels, needed"),
        ({"tags": "OO"}, "tags 'OO' is not a list"),
        ({"tags": [0]}, "1 tags for 2 tokens"),
        ({"tags": [0, 9]}, "unknown tag 9, allowed: 0 O, 1 B-PER, 2 I-PER"),
        ({"tags": ["O", "B-FOO"]}, "unknown tag 'B-FOO', allowed: O, B-PER, I-PER"),
    ):
        with pytest.raises(RowError, match=reason):
            labels_of(record, "token", text, NER)


def test_types_are_renamed_after_the_scheme_is_converted() -> None:
    """In IOB1 the second ``I-`` starts an entity, since its type is another in the tags."""
    types = {"HUM": "PER"}
    assert tag_ids(["B-HUM", "I-PER", "I-HUM"], NER, types=types) == (1, 2, 2)
    assert tag_ids(["I-PER", "I-HUM", "I-HUM"], NER, scheme="iob1", types=types) == (1, 1, 2)
    assert tag_ids(["B-HUM", "E-HUM", "S-PER"], NER, scheme="bioes", types=types) == (1, 2, 1)


@pytest.mark.parametrize(
    ("scheme", "types", "allowed"),
    [
        ("bio", {"HUM": "PER"}, "O, B-PER, I-PER, B-HUM, I-HUM"),
        ("bioes", {"HUM": "PER"}, "O, B-PER, I-PER, E-PER, S-PER, B-HUM, I-HUM, E-HUM, S-HUM"),
        ("bio", {"HUM": "PERSON"}, "O, B-PER, I-PER"),
    ],
)
def test_unknown_types_are_named(scheme: Scheme, types: dict[str, str], allowed: str) -> None:
    """A type that is renamed to one that the label set does not have is unknown as well."""
    for tag in ("B-PET", "HUM", *(["B-HUM"] if "PERSON" in types.values() else [])):
        with pytest.raises(RowError) as caught:
            tag_ids(["O", tag], NER, scheme=scheme, types=types)
        assert caught.value.reason == f"unknown tag {tag!r}, allowed: {allowed}"
        assert caught.value.position == 1


def test_a_fault_waits_for_tags_before_it() -> None:
    fault = RowError("later", 1)
    with pytest.raises(RowError, match="later"):
        tag_ids(["O"], NER, fault=fault)
    with pytest.raises(RowError, match="unknown tag 'X'"):
        tag_ids(["X"], NER, fault=fault)


def test_classes_of_other_names_are_converted_and_renamed() -> None:
    """Indices into the names of a dataset are tags; the first fault in the row is named."""
    text, names = Text(tokens=("a", "b")), ("O", "I-HUM", "I-PET")

    def read(tags: list[Any]) -> Any:
        record = {"tags": tags}
        types = {"HUM": "PER"}
        return labels_of(record, "token", text, NER, scheme="iob1", types=types, names=names)

    assert read([1, 1]) == (1, 2)
    for tags, reason, position in (
        ([2, 7], "unknown tag 'I-PET', allowed: O, B-PER, I-PER, B-HUM, I-HUM", 0),
        ([7, 2], "unknown tag 7, allowed: 0 O, 1 I-HUM, 2 I-PET", 0),
        ([1, None], "unknown tag None, allowed: O, B-PER, I-PER", 1),
    ):
        with pytest.raises(RowError) as caught:
            read(tags)
        assert (caught.value.reason, caught.value.position) == (reason, position)


def test_bad_rows_are_where_their_token_is() -> None:
    """The second token of a row stands three lines below its first, or has no line of its own."""

    def read_text(raw: str) -> Text:
        raise RowError("bad", 1)

    for token_line, expected in (
        (lambda raw, position: 7 + 3 * position, BadRow("x", 10, "bad")),
        (lambda raw, position: None, BadRow("x", 7, "bad (token 2)")),
    ):
        rows = assemble(
            [(7, "a")],
            language="de",
            split="dev",
            file="x",
            read_text=read_text,
            read_labels=None,
            limit=None,
            token_line=token_line,
        )
        assert list(rows) == [expected]


def test_long_values_are_cut_in_messages() -> None:
    assert shown("ab") == "'ab'"
    assert len(shown("a" * 10_000)) < 100


def _assembled(rows: list[str], labelled: bool, limit: int | None) -> list[Example | BadRow]:
    def read_text(raw: str) -> Text:
        if raw[0] == "!":
            raise RowError("bad text", 2)
        return Text(text=raw[0])

    def read_labels(raw: str, text: Text) -> int:
        if raw[1] == "!":
            raise RowError("bad label")
        return int(raw[1])

    return list(
        assemble(
            enumerate(rows, 1),
            language="de",
            split="dev",
            file="de/dev",
            read_text=read_text,
            read_labels=read_labels if labelled else None,
            limit=limit,
        )
    )


def test_bad_labels_keep_their_place() -> None:
    """Of ``a0 !! a! a1 b1`` the text rows are 1, 3, 4 and 5; a limit of 2 ends at row 3."""
    rows = ["a0", "!!", "a!", "a1", "b1"]
    plain, labelled = _assembled(rows, False, None), _assembled(rows, True, None)
    names = [row.id if isinstance(row, Example) else row.reason for row in plain]
    assert names[1] == "bad text (token 3)"
    assert len(set(names)) == 5
    assert [row.id if isinstance(row, Example) else row.reason for row in labelled] == [
        *names[:2],
        "bad label",
        *names[3:],
    ]
    assert _assembled(rows, False, 2) == plain[:3]
    assert _assembled(rows, True, 2) == labelled[:3]


def test_own_ids_are_kept_apart_from_content_ids() -> None:
    ids = RowIds("de", "dev")
    content = ids.next(Text(text="a"), 1, "f")
    own = ids.next(Text(text="a", id=content.rsplit("-", 1)[1]), 2, "f")
    assert own != content
    assert own.startswith("de-dev-id-")
    ids.next(Text(text="b", id="7"), 3, "f")
    with pytest.raises(RowError, match=r"duplicate id '7', first used in line 3"):
        ids.next(Text(text="c", id="7"), 4, "f")
    assert ids.count == 3
