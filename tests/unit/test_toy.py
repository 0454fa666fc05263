"""The embedded benchmark: what is fixed by the options, and what the knobs change."""

import dataclasses
import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from xlt_ray.data.benchmarks.toy import (
    LABELS,
    LANGUAGES,
    Knobs,
    ToySource,
    class_prior,
    make_source,
    unlabelled_text,
)
from xlt_ray.data.schema import BadRow, Example
from xlt_ray.labels import LabelSet, bio_spans, spans_to_bio

TASKS = tuple(LABELS)
SMALL = {"train": 60, "dev": 20, "test": 20}


def rows(
    task: str, language: str, options: Mapping[str, object], *, split: str = "train"
) -> list[Example]:
    source = make_source(task, language, split, options)
    found = list(source.examples(LabelSet(LABELS[task])))
    assert all(isinstance(row, Example) for row in found)
    return [row for row in found if isinstance(row, Example)]


def tags(row: Example, task: str = "ner") -> list[str]:
    assert isinstance(row.labels, tuple)
    return [LABELS[task][number] for number in row.labels]


def without_labels(found: list[Example]) -> list[Example]:
    return [dataclasses.replace(row, labels=None) for row in found]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_items_repeat_and_have_the_shape_of_their_task(task: str, language: str) -> None:
    found = rows(task, language, SMALL)
    assert found == rows(task, language, SMALL)
    assert len({row.id for row in found}) == len(found) == 60
    for row in found:
        if task in ("ner", "tagging"):
            assert row.tokens is not None
            assert row.text is None
            assert isinstance(row.labels, tuple)
            assert len(row.tokens) == len(row.labels)
            assert all(token and not set(token) & set(" \t\n") for token in row.tokens)
        else:
            assert row.text
            assert row.tokens is None
            assert (row.text_pair is not None) == (task == "pair")
            assert isinstance(row.labels, int)


def test_another_process_makes_the_same_rows() -> None:
    """String hashing differs between processes and must not matter."""
    code = (
        "from xlt_ray.data.benchmarks.toy import make_source\n"
        "for row in make_source('ner', 'kaldi', 'dev', {}).examples(None, 20): print(row)"
    )
    command = [sys.executable, "-c", code]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    here = make_source("ner", "kaldi", "dev", {}).examples(None, 20)
    assert other.splitlines() == [str(row) for row in here]


@pytest.mark.parametrize("task", TASKS)
def test_limit_and_size_give_prefixes(task: str) -> None:
    labels = LabelSet(LABELS[task])
    source = make_source(task, "pavri", "train", SMALL)
    full = list(source.examples(labels))
    for limit in (0, 1, 17, 60, 99):
        assert list(source.examples(labels, limit)) == full[:limit]
        assert source.volume(limit) == 150 * min(limit, 60)
    assert list(make_source(task, "pavri", "train", {"train": 9}).examples(labels)) == full[:9]
    shards = [source.shard(labels, start=start, stop=start + 25) for start in (0, 25, 50)]
    assert list(itertools.chain(*shards)) == full


@pytest.mark.parametrize("task", TASKS)
def test_rows_without_labels_are_the_same_rows(task: str) -> None:
    source = make_source(task, "orsen", "test", SMALL)
    assert list(source.examples(None)) == without_labels(rows(task, "orsen", SMALL, split="test"))


@pytest.mark.parametrize("task", TASKS)
def test_label_noise_changes_labels_only(task: str) -> None:
    noisy = {**SMALL, "knobs": {"teska": {"label_noise": 0.5}}}
    clean_rows, noisy_rows = rows(task, "teska", SMALL), rows(task, "teska", noisy)
    assert without_labels(clean_rows) == without_labels(noisy_rows)
    assert clean_rows != noisy_rows
    assert rows(task, "mira", SMALL) == rows(task, "mira", noisy)


def test_noise_hits_the_asked_share_of_entities_and_keeps_spans() -> None:
    """2,000 sentences hold over 2,000 entities: the standard error at 0.3 is 0.01."""
    clean = rows("ner", "mira", {"train": 2000})
    noisy = rows("ner", "mira", {"train": 2000, "knobs": {"mira": {"label_noise": 0.3}}})
    pairs = [
        (before, after)
        for one, two in zip(clean, noisy, strict=True)
        for before, after in zip(bio_spans(tags(one)), bio_spans(tags(two)), strict=True)
    ]
    assert len(pairs) > 2000
    assert all((a.start, a.end) == (b.start, b.end) for a, b in pairs)
    assert sum(a.type != b.type for a, b in pairs) / len(pairs) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_tags_are_valid_bio_of_three_types(language: str, noise: float) -> None:
    options = {"train": 300, "knobs": {language: {"label_noise": noise}}}
    kinds: Counter[str] = Counter()
    for row in rows("ner", language, options):
        spans = bio_spans(tags(row))
        assert spans_to_bio(spans, len(tags(row))) == tags(row)
        kinds.update(span.type for span in spans)
    assert set(kinds) == {"PER", "ORG", "LOC"}


def test_one_name_can_be_of_several_types() -> None:
    types: dict[str, set[str]] = {}
    for row in rows("ner", "mira", {"train": 1500}):
        assert row.tokens is not None
        for span in bio_spans(tags(row)):
            if span.end == span.start + 1:
                types.setdefault(row.tokens[span.start], set()).add(span.type)
    assert sum(len(found) == 3 for found in types.values()) >= 10


def heads(found: list[str]) -> list[str]:
    """Heads of the noun phrases of a sentence in subject, verb, object order.

    Phrases never touch in this order, so a run of PROPN is one head, and a NOUN before a PROPN
    is its title.
    """
    after = [*found[1:], "PUNCT"]
    return [
        tag
        for tag, following in zip(found, after, strict=True)
        if tag == "PRON" or (tag in ("NOUN", "PROPN") and following != "PROPN")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0])
def test_priors_shift_as_asked(task: str, shift: float) -> None:
    """A share of about 3,000 draws has a standard error below 0.01; 0.04 is about four of them."""
    knobs = Knobs(prior_shift=shift)
    prior = class_prior(task, "mira", knobs)
    assert sum(prior) == pytest.approx(1)
    options = {"train": 3000, "knobs": {"mira": {"prior_shift": shift}}}
    counts: Counter[str] = Counter()
    for row in rows(task, "mira", options):
        if task == "ner":
            counts.update(span.type for span in bio_spans(tags(row)))
        elif task == "tagging":
            counts.update(heads(tags(row, task)))
        else:
            assert isinstance(row.labels, int)
            counts[LABELS[task][row.labels]] += 1
    heads_of = {"ner": ("PER", "ORG", "LOC"), "tagging": ("NOUN", "PROPN", "PRON")}
    names = heads_of.get(task, LABELS[task])
    for name, wanted in zip(names, prior, strict=True):
        assert counts[name] / counts.total() == pytest.approx(wanted, abs=0.04)


def test_skewed_prior_is_halving_weights() -> None:
    """With three classes the weights 1, 1/2, 1/4 sum to 7/4: shares 4/7, 2/7, 1/7."""
    prior = class_prior("ner", "kaldi", Knobs(prior_shift=1.0))
    assert sorted(prior) == pytest.approx([1 / 7, 2 / 7, 4 / 7])


def test_lexicon_knobs_decide_how_many_words_are_shared() -> None:
    source = {word for words in unlabelled_text("mira", size=500) for word in words}

    def overlap(knobs: Mapping[str, object]) -> float:
        options = {"knobs": {"nolu": knobs}}
        words = {
            word for words in unlabelled_text("nolu", size=500, options=options) for word in words
        }
        return len(words & source) / len(words)

    same = overlap({"shared": 1.0, "names": 1.0, "spelling": 0.0})
    respelled = overlap({"shared": 1.0, "names": 1.0, "spelling": 0.1})
    foreign = overlap({"shared": 0.0, "names": 0.0, "spelling": 0.0})
    assert same > 0.9 > respelled > 0.2 > foreign


def test_script_maps_letters_and_keeps_loans_latin() -> None:
    def latin(loans: float) -> float:
        knobs = {"script": "georgian", "loans": loans}
        text = unlabelled_text("nolu", size=200, options={"knobs": {"nolu": knobs}})
        words = [word for words in text for word in words if word != "."]
        return sum(word.isascii() for word in words) / len(words)

    assert latin(0.0) < 0.05  # acronyms
    assert 0.2 < latin(0.25) < 0.4


def test_word_order_moves_the_verb() -> None:
    def first_verbs(order: str) -> float:
        options = {"train": 200, "knobs": {"mira": {"order": order}}}
        found = rows("tagging", "mira", options)
        return sum(tags(row, "tagging")[0] in ("VERB", "AUX") for row in found) / 200

    assert first_verbs("VSO") == 1.0
    assert first_verbs("SVO") == 0.0


def test_a_million_sentences_open_at_once() -> None:
    source = make_source("ner", "zhuma", "train", {"train": 1_000_000})
    (last,) = source.shard(None, start=999_999, stop=1_000_000)
    assert isinstance(last, Example)
    assert last.line == 1_000_000
    assert list(source.shard(None, start=1_000_000, stop=1_000_009)) == []


def test_splits_seeds_and_languages_differ() -> None:
    texts = {
        tuple(row.tokens or () for row in rows("ner", language, {**SMALL, "seed": seed}, split=s))
        for language in LANGUAGES
        for seed in (0, 1)
        for s in ("train", "dev", "test")
    }
    assert len(texts) == len(LANGUAGES) * 6


def test_sizes_of_source_and_targets() -> None:
    options = {"train": 40, "target_train": 7, "test": 5}
    assert make_source("ner", "mira", "train", options).size == 40
    assert make_source("ner", "nolu", "train", options).size == 7
    assert make_source("ner", "nolu", "train", {"train": 40}).size == 40
    assert make_source("ner", "nolu", "test", options).size == 5


def test_identity_is_json_and_tells_knobs_apart() -> None:
    plain = make_source("ner", "nolu", "dev", {}).identity()
    noisy = make_source("ner", "nolu", "dev", {"knobs": {"nolu": {"label_noise": 0.1}}}).identity()
    assert json.loads(json.dumps(plain)) == plain
    assert plain != noisy
    assert plain["version"] == noisy["version"]


def test_a_label_outside_the_label_set_is_a_bad_row() -> None:
    source = make_source("rating", "mira", "dev", {})
    found = list(source.examples(LabelSet(("1", "2", "3", "4")), 50))
    bad = [row for row in found if isinstance(row, BadRow)]
    assert len(found) == 50
    assert bad
    assert all("'5'" in row.reason for row in bad)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "chunking"}, "toy task is 'chunking', allowed: ner, tagging, pair, rating"),
        ({"language": "en"}, "toy language is 'en', allowed: mira, nolu"),
        ({"split": "raw"}, "toy split is 'raw', allowed: train, dev, test"),
        ({"options": {"sise": 3}}, "unknown toy option 'sise', allowed: train, dev"),
        ({"options": {"train": 0}}, "'train' is 0, allowed: a whole number from 1"),
        ({"options": {"dev": True}}, "'dev' is True, allowed"),
        ({"options": {"seed": -1}}, "'seed' is -1, allowed: a whole number from 0"),
        ({"options": {"knobs": 3}}, "'knobs' is 3, allowed: language -> knob -> value"),
        ({"options": {"knobs": {"en": {}}}}, "toy knobs is 'en', allowed: mira"),
        ({"options": {"knobs": {"nolu": 3}}}, "'knobs.nolu' is 3, allowed: knob -> value"),
        ({"options": {"knobs": {"nolu": {"noise": 1}}}}, "unknown knob 'noise' of 'nolu', allowed"),
        (
            {"options": {"knobs": {"nolu": {"label_noise": 1.5}}}},
            "knob 'label_noise' is 1.5, allowed: a number from 0 to 1",
        ),
        ({"options": {"knobs": {"nolu": {"shared": "all"}}}}, "knob 'shared' is 'all', allowed"),
        ({"options": {"knobs": {"nolu": {"order": "SOS"}}}}, "knob 'order' is 'SOS', allowed: SVO"),
        (
            {"options": {"knobs": {"nolu": {"script": "runic"}}}},
            "knob 'script' is 'runic', allowed: latin",
        ),
    ],
)
def test_wrong_options_name_the_field_and_what_is_allowed(
    changes: dict[str, Any], message: str
) -> None:
    arguments: dict[str, Any] = {"task": "ner", "language": "nolu", "split": "dev"} | changes
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        make_source(**arguments)


def test_raw_text_differs_from_the_labelled_splits() -> None:
    raw = list(unlabelled_text("mira", size=50))
    train = [list(row.tokens or ()) for row in rows("ner", "mira", {"train": 50})]
    assert len(raw) == 50
    assert not [words for words in raw if words in train and len(words) > 5]
    assert list(unlabelled_text("mira", "train", size=50)) == train
    pair = next(unlabelled_text("mira", size=1, task="pair"))
    assert pair.count(".") == 2


def test_source_is_a_value() -> None:
    assert make_source("ner", "mira", "dev", {}) == make_source("ner", "mira", "dev")
    assert isinstance(make_source("ner", "mira", "dev"), ToySource)
