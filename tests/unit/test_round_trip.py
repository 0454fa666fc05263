"""Entities marked by characters: into tags of words, and back to the same characters."""

from pathlib import Path

import pytest

from xlt_ray.data.readers.records import words_in
from xlt_ray.data.readers.spans import tags_of_text
from xlt_ray.data.readers.words import gap
from xlt_ray.engine.write_predictions import spans_of
from xlt_ray.labels import bio_spans

LANGUAGES = 39


def sentences(file: Path) -> list[tuple[list[str], list[str]]]:
    """Words and tags of each sentence of a two-column file."""
    blocks = file.read_text(encoding="utf-8").split("\n\n")
    rows = [[line.split("\t") for line in block.split("\n") if line] for block in blocks]
    return [([row[0] for row in block], [row[-1] for row in block]) for block in rows if block]


def marked(words: list[str], tags: list[str]) -> tuple[str, list[list[object]]]:
    """A running text, and where its entities are."""
    text, starts = "", list[int]()
    for before, word in zip(["", *words], words, strict=False):
        text += gap(before, word) if before else ""
        starts.append(len(text))
        text += word
    return text, [
        [starts[x.start], starts[x.end - 1] + len(words[x.end - 1]), x.type]
        for x in bio_spans(tags)
    ]


@pytest.mark.slow
@pytest.mark.shared
def test_no_entity_of_a_language_is_lost_or_moved(shared_data: Path) -> None:
    folders = [path for path in sorted((shared_data / "wikiann").iterdir()) if path.is_dir()]
    assert len(folders) == LANGUAGES
    for folder in folders:
        count = 0
        for words, tags in sentences(folder / "test.txt")[:100]:
            text, wanted = marked(words, tags)
            record = {"text": text, "label": wanted}
            labels = tags_of_text(record, "marks")
            found = spans_of(words_in(record, "marks"), {"labels": labels})
            assert [[x["start"], x["end"], x["label"]] for x in found] == wanted, text
            assert all(x["text"] == text[x["start"] : x["end"]] for x in found)
            count += len(found)
        assert count >= 50, folder.name
