"""Translations of toy sentences: the order, particles, endings and tags of the other language."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import toy_translations
from xlt_ray.data.benchmarks.toy import LABELS, LANGUAGES, make_source
from xlt_ray.data.benchmarks.toy_translation import Quality, ready_rows, translations
from xlt_ray.data.benchmarks.toy_words import lexicon
from xlt_ray.labels import LabelSet, bio_spans

OWN = make_source("ner", LANGUAGES[0], "train", {"train": 200})


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_the_same_entities_are_there_in_words_of_the_language(language: str) -> None:
    """Types are the same ones, in another order perhaps; hardly a word is none of the language."""
    into = make_source("ner", language, "train", {"train": 200, "target_train": 1000})
    labels, known = LabelSet(LABELS["ner"]), set[str]()
    for row in into.examples(None):
        known |= set(row.tokens or ())  # type: ignore[union-attr]
    words = list[str]()
    for row, (own, other) in zip(OWN.examples(labels), translations(OWN, into), strict=True):
        assert row.tokens == tuple(word.form for word in own)  # type: ignore[union-attr]
        kinds = [sorted(x.type for x in bio_spans([w.tag for w in z])) for z in (own, other)]
        assert kinds[0] == kinds[1]
        assert all(word.tag[:2] != "I-" or at for at, word in enumerate(other))
        words += [word.form for word in other]
    assert sum(word in known for word in words) / len(words) > 0.98


def test_a_sentence_by_hand() -> None:
    """orsen puts the object before the verb and a particle before the object, and has a case
    ending in place of the adposition."""
    into = make_source("ner", "orsen", "train")
    words = lexicon("orsen", 0, into.knobs)
    pairs = list(translations(OWN, into))
    marks = [(own, other) for own, other in pairs
             if any(word.form == words.words["mark.0"] for word in other)]  # fmt: skip
    assert marks
    verbs = {form for concept, form in words.words.items() if concept.startswith("verb")}
    for _, other in marks[:20]:
        forms = [word.form for word in other]
        mark = forms.index(words.words["mark.0"])
        assert any(form in verbs for form in forms[mark:])
    endings = tuple(words.words[f"case.{cue}.0"] for cue in ("in", "with", "at"))
    assert any(word.form.endswith(endings) and word.tag != "O" for _, x in pairs for word in x)


def test_translations_can_be_worse() -> None:
    into = make_source("ner", "kaldi", "train")
    right, wrong = (list(translations(OWN, into, Quality(x, x))) for x in (0.0, 0.3))
    assert list(translations(OWN, into, Quality(0.3, 0.3))) == wrong
    assert sum(len(x) for _, x in wrong) < sum(len(x) for _, x in right)
    names = [[w.form for _, x in z for w in x if w.tag != "O"] for z in (right, wrong)]
    assert len(names[0]) == len(names[1])
    changed = sum(a != b for a, b in zip(*names, strict=True)) / len(names[0])
    assert 0.2 < changed < 0.4


def test_tables_have_sentences_with_and_without_brackets() -> None:
    into = make_source("ner", "nolu", "train")
    rows = dict(ready_rows(OWN, into))
    in_brackets = [text for text in rows if "[" in text]
    assert 100 < len(in_brackets) < 200
    for text in in_brackets:
        assert sorted(c for c in rows[text] if c in "[]{}()") == sorted(
            c for c in text if c in "[]{}()"
        )
    lost = dict(ready_rows(OWN, into, Quality(lost=1.0)))
    assert not any("[" in translation for translation in lost.values())


def test_a_folder_of_ready_translations_can_be_written(tmp_path: Path) -> None:
    toy_translations.main([str(tmp_path / "ready"), "--rows", "12", "--lost", "1"])
    table = pq.read_table(tmp_path / "ready" / f"{LANGUAGES[0]}.parquet")
    assert table.column_names == ["text", *LANGUAGES[1:]]
    assert 12 < len(table) <= 24
    assert not any("[" in text for text in table["kaldi"].to_pylist())


def test_text_that_is_tested_in_translation_can_be_written(tmp_path: Path) -> None:
    """Each sentence of the test files has a translation, here with other words, but for names."""
    toy_translations.main([str(tmp_path), "--tested", "12", "--wrong", "0.3"])
    for split in ("train", "dev"):
        assert (tmp_path / f"{LANGUAGES[0]}/{split}.conll").read_text().count("\n\n") == 12
    for language in LANGUAGES[1:]:
        sentences = (tmp_path / f"{language}/test.conll").read_text().strip().split("\n\n")
        words = [[line.split("\t")[0] for line in x.splitlines()] for x in sentences]
        table = pq.read_table(tmp_path / f"{language}.parquet")
        assert table["text"].to_pylist() == [" ".join(x) for x in words]
        assert all(table["pivot"].to_pylist())
