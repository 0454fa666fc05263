"""Views of corpora: labels, removal and samples, resolved by id."""

import math
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.encoders import commit, tokenised
from xlt_ray.recipe.corpus import Corpus, Mix, Model, View, sample_ids, share_of
from xlt_ray.store.artifacts import Artifact, Store

NAMES = [f"r{number:02d}" for number in range(20)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def tokens(store: Store) -> Artifact:
    """Two shards in the order of reading, which is not that of the ids."""
    sentences = [[[number]] for number in range(20)]
    table = tokenised(sentences, ids=NAMES).take(pa.array([*range(19, -1, -2), *range(0, 20, 2)]))
    return commit(
        store, "tokens", "t", {"part-000000": table.slice(0, 12), "part-000001": table.slice(12)}
    )


def labels_of(
    store: Store, name: str, ids: list[str], first: int = 0, **columns: pa.Array
) -> Artifact:
    values = pa.array([[first + int(item[1:])] for item in ids], pa.list_(pa.int16()))
    table = pa.table({"id": pa.array(ids, pa.string()), "labels": values, **columns})
    return commit(store, "gold", name, {"gold-xx": table})


def names(corpus: Corpus) -> list[str]:
    return corpus.rows()["id"].to_pylist()


def test_rows_stand_in_the_order_of_their_ids(tokens: Artifact) -> None:
    rows = Corpus(tokens).rows()
    assert rows["id"].to_pylist() == NAMES
    assert [pieces[0] for pieces in rows["pieces"].to_pylist()] == list(range(20))
    assert rows["pieces"].num_chunks == 1


def test_labels_are_joined_by_id(store: Store, tokens: Artifact) -> None:
    """Only rows that have labels remain; labels of rows that are not there do no harm."""
    corpus = Corpus(tokens).labelled(labels_of(store, "l1", ["r07", "r99", "r03"], first=100))
    rows = corpus.rows()
    assert rows["id"].to_pylist() == ["r03", "r07"]
    assert rows["labels"].to_pylist() == [[103], [107]]
    assert rows["pieces"].to_pylist() == [[3], [7]]
    assert "candidates" not in rows.column_names


def test_candidate_sets_come_along(store: Store, tokens: Artifact) -> None:
    sets = pa.array([[5], [6]], pa.list_(pa.int64()))
    labels = labels_of(store, "l2", ["r05", "r01"], candidates=sets)
    rows = Corpus(tokens).labelled(labels).rows()
    assert rows["candidates"].to_pylist() == [[6], [5]]


def test_removed_rows_are_gone(store: Store, tokens: Artifact) -> None:
    one = labels_of(store, "x1", NAMES[:5])
    other = labels_of(store, "x2", NAMES[3:9])
    assert names(Corpus(tokens).without(one).without(other)) == NAMES[9:]
    assert names(Corpus(tokens).without(one, other)) == NAMES[9:]
    assert names(Corpus(tokens).without(labels_of(store, "x3", []))) == NAMES
    assert names(Corpus(tokens).without(labels_of(store, "x4", NAMES))) == []


def test_the_shards_of_a_view_are_its_rows(store: Store, tokens: Artifact) -> None:
    """What annotators read, shard by shard, is what a worker reads at once."""
    gold, gone = labels_of(store, "s1", NAMES[2:18]), labels_of(store, "s2", NAMES[4:7])
    for corpus in (
        Corpus(tokens).without(gone),
        Corpus(tokens).sample(0.3, seed=1),
        Corpus(tokens).labelled(gold).without(gone).sample(0.5, seed=2),
    ):
        view = View(corpus)
        found = [view.shard(name) for name in corpus.shards]
        assert sorted(pa.concat_tables(found)["id"].to_pylist()) == names(corpus)


@pytest.mark.parametrize(("fraction", "count"), [(0.5, 10), (0.6, 12), (0.04, 0), (0.99, 19)])
def test_a_sample_has_the_floor_of_its_share(tokens: Artifact, fraction: float, count: int) -> None:
    assert len(names(Corpus(tokens).sample(fraction, seed=3))) == count


@given(st.integers(0, 2000), st.integers(1, 100))
def test_a_share_is_exact_in_its_decimal(count: int, percent: int) -> None:
    """0.29 x 100 is 29, though the double product is below."""
    assert share_of(percent / 100, count) == math.floor(Fraction(percent, 100) * count)


def test_a_sample_depends_on_seed_and_ids_alone(store: Store, tokens: Artifact) -> None:
    one = names(Corpus(tokens).sample(0.5, seed=1))
    assert one == names(Corpus(tokens).sample(0.5, seed=1))
    assert one != names(Corpus(tokens).sample(0.5, seed=2))
    shuffled = tokenised([[[1]]] * 20, ids=NAMES[::-1])
    other = commit(store, "tokens", "t2", {"part-000000": shuffled})
    assert one == names(Corpus(other).sample(0.5, seed=1))


def test_a_sample_of_labelled_rows_is_a_share_of_those(store: Store, tokens: Artifact) -> None:
    gold = labels_of(store, "g1", NAMES[:10])
    found = names(Corpus(tokens).labelled(gold).sample(0.5, seed=1))
    assert len(found) == 5
    assert set(found) <= set(NAMES[:10])


def test_a_sample_has_all_rows_of_a_language_that_is_spared(store: Store) -> None:
    languages = ["sw" if number % 4 == 0 else "en" for number in range(20)]
    tokens = commit(
        store, "tokens", "t3",
        {"part-000000": tokenised([[[1]]] * 20, ids=NAMES, languages=languages)},
    )  # fmt: skip
    gold = labels_of(store, "g3", NAMES[:12])
    spared = [name for name, own in zip(NAMES[:12], languages, strict=False) if own == "sw"]
    whole = Corpus(tokens, spared=("sw",)).labelled(gold)
    found = names(whole.sample(0.5, seed=1))
    assert set(spared) < set(found) <= set(NAMES[:12])
    assert len(found) == 3 + 9 // 2, "half of the others, rounded down"
    assert len(names(whole)) == 12
    assert whole.describe() != Corpus(tokens).labelled(gold).describe()


def test_larger_samples_hold_smaller_ones() -> None:
    ids = pa.array(NAMES)
    drawn = [sample_ids(ids, count, seed=4).to_pylist() for count in (3, 8)]
    assert drawn[1][:3] == drawn[0]
    assert len(set(drawn[1])) == 8
    assert sample_ids(ids, 0, seed=4).to_pylist() == []


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1])
def test_a_share_is_more_than_none_and_at_most_all(tokens: Artifact, fraction: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \(0, 1\]"):
        Corpus(tokens).sample(fraction, seed=0)


def test_a_view_names_everything_it_depends_on(store: Store, tokens: Artifact) -> None:
    gold = labels_of(store, "d1", NAMES[:10])
    gone = [labels_of(store, name, NAMES[:2]) for name in ("d2", "d3")]
    plain = Corpus(tokens)
    views = [
        plain,
        plain.labelled(gold),
        plain.without(gone[0]),
        plain.without(*gone),
        plain.sample(0.5, seed=1),
        plain.sample(0.5, seed=2),
        plain.sample(0.4, seed=1),
    ]
    assert len({str(view.describe()) for view in views}) == len(views)
    assert plain.without(*gone).describe() == plain.without(*gone[::-1]).describe()
    assert plain.sample(1, seed=9) == plain
    assert plain.labelled(gold).without(*gone).inputs == (tokens, gold, *gone)


def test_a_mix_is_made_of_labelled_corpora(store: Store, tokens: Artifact) -> None:
    one = Corpus(tokens).labelled(labels_of(store, "m1", NAMES[:2]))
    other = Corpus(tokens).labelled(labels_of(store, "m2", NAMES[2:4]))
    mix = Mix(one, other)
    assert mix.inputs == (*one.inputs, *other.inputs)
    parts = [one.describe(), other.describe()]
    assert mix.describe() == {"parts": parts, "paired": None, "pool": None}
    roles = [Mix(one, other), Mix(one, paired=other), Mix(one, pool=other)]
    assert len({str(item.describe()) for item in roles}) == 3, "what a corpus is for counts"
    with pytest.raises(AssertionError, match="labelled corpora"):
        Mix(one, Corpus(tokens))


def test_a_model_tells_its_score_and_history(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    history = [{"epoch": 1, "source_dev": 0.5}]
    info = {"source_dev": 0.5, "history": history}
    trained = store.commit(store.attempt("model", "a"), {"info": info, "seconds": 0.0})
    assert (Model(trained).source_dev, Model(trained).history) == (0.5, history)
    pretrained = store.commit(store.attempt("model", "b"), {"info": {}, "seconds": 0.0})
    assert (Model(pretrained).source_dev, Model(pretrained).history) == (None, [])
