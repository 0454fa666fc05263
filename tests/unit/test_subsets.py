"""Sources of which some rows are taken."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlt_ray.data.readers.subsets import HeldOut, PriorShifted, RowRange, Shuffled, quotas
from xlt_ray.data.readers.user_source import UserSource
from xlt_ray.data.schema import BadRow, Example
from xlt_ray.labels import LabelSet

LABELS = LabelSet(("one", "two", "three"))


@dataclass(frozen=True)
class Sorted:
    """Rows sorted by class; every tenth has a bad label, every fifteenth a bad text."""

    language: str = "de"
    split: str = "train"
    classes: tuple[int, ...] = field(default_factory=lambda: tuple(i // 100 for i in range(300)))
    are_bad: bool = True

    def identity(self) -> dict[str, Any]:
        return {"kind": "sorted"}

    def volume(self, limit: int | None = None) -> float:
        return 10 * min(len(self.classes), limit or len(self.classes))

    def examples(
        self, labels: LabelSet | None, limit: int | None = None
    ) -> Iterator[Example | BadRow]:
        good = 0
        for line, label in enumerate(self.classes, start=1):
            if good == limit:
                return
            if self.are_bad and line % 15 == 0:
                yield BadRow("f", line, "bad text")
                continue
            good += 1
            if labels is not None and self.are_bad and line % 10 == 0:
                yield BadRow("f", line, "bad label")
                continue
            known = label if labels is not None else None
            yield Example(f"id{line}", "de", None, f"text {line}", None, known, "f", line)


def lines(rows: Iterator[Example | BadRow]) -> list[int]:
    return [row.line for row in rows]


def test_a_limit_takes_rows_of_every_class() -> None:
    source = Shuffled(Sorted())
    found = list(source.examples(None, 60))
    assert sum(isinstance(row, Example) for row in found) == 60
    assert 0 < len(found) - 60 < 12  # bad rows at their own rate
    assert lines(iter(found)) == sorted(lines(iter(found)))
    assert {(row.line - 1) // 100 for row in found} == {0, 1, 2}
    assert {row.line for row in Sorted().examples(None, 60)} <= set(range(100))


def test_text_and_labels_have_the_same_rows() -> None:
    for source in (Shuffled(Sorted(), seed=3), PriorShifted(Sorted(), LABELS, (0.5, 0.3, 0.2), 50)):
        text, gold = lines(source.examples(None, 40)), lines(source.examples(LABELS, 40))
        assert text == gold


@pytest.mark.parametrize("kind", ["shuffled", "shifted"])
def test_a_bad_label_below_the_first_line_of_a_row_is_of_that_row(
    tmp_path: Path, kind: str
) -> None:
    """Two files of one name; the bad tag stands in the second line of a sentence."""
    for name in "ab":
        tags = ["B-PER" if n % 2 else ("UGLY" if n == 4 else "O") for n in range(20)]
        (tmp_path / name).mkdir()
        rows = "\n".join(f"{name}{n}\tO\nz\t{tag}\n" for n, tag in enumerate(tags))
        (tmp_path / name / "x.conll").write_text(rows)
    words, files = LabelSet(("O", "B-PER", "I-PER")), (f"{tmp_path}/a/x.conll", f"{tmp_path}/b/*")
    inner = UserSource(files, "sw", "train", "token")
    source = Shuffled(inner) if kind == "shuffled" else PriorShifted(inner, words, (0.7, 0.3, 0.0))
    limit = 39 if kind == "shuffled" else 15
    text, gold = list(source.examples(None, limit)), list(source.examples(words, limit))
    assert len(text) == len(gold) == limit
    bad = sum(isinstance(row, BadRow) for row in gold)
    assert bad == (sum(row.line == 13 for row in text) if kind == "shuffled" else 0)


def test_without_a_limit_all_rows_are_there() -> None:
    assert lines(Shuffled(Sorted()).examples(None)) == lines(Sorted().examples(None))


def test_what_is_gone_through_is_counted_with_what_it_takes_to_choose() -> None:
    assert Shuffled(Sorted()).volume() == 3000
    assert Shuffled(Sorted()).volume(5) == 6000
    assert HeldOut(Sorted(), 0.1, held=True).volume(5) == 6000
    assert PriorShifted(Sorted(), LABELS, None).volume() == 6000
    assert RowRange(Sorted(), 100, 120).volume() == 1200
    assert RowRange(Sorted(), 100, 120).volume(5) == 1050


def test_what_nobody_knows_stays_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sorted, "volume", lambda self, limit=None: math.inf)
    kinds = (Shuffled(Sorted()), HeldOut(Sorted(), 0.1, held=False), RowRange(Sorted(), 0, 9))
    assert {kind.volume(5) for kind in (*kinds, PriorShifted(Sorted(), LABELS, None))} == {math.inf}


def test_seeds_draw_other_rows() -> None:
    first, again, other = (lines(Shuffled(Sorted(), s).examples(None, 50)) for s in (0, 0, 1))
    assert first == again != other
    assert Shuffled(Sorted(), 0).identity() != Shuffled(Sorted(), 1).identity()


def shares_of(source: PriorShifted, limit: int | None = None) -> np.ndarray:
    found = [row.labels for row in source.examples(LABELS, limit) if isinstance(row, Example)]
    return np.bincount(np.array(found), minlength=3)


def test_texts_have_the_shares_that_are_asked_for() -> None:
    assert shares_of(PriorShifted(Sorted(), LABELS, (0.5, 0.3, 0.2), 50)).tolist() == [25, 15, 10]
    assert shares_of(PriorShifted(Sorted(), LABELS, (0.5, 0.3, 0.2), 50), 20).tolist() == [10, 6, 4]
    assert shares_of(PriorShifted(Sorted(), LABELS, (0.0, 1.0, 0.0), 50)).tolist() == [0, 50, 0]


def test_a_class_with_too_few_rows_makes_the_whole_smaller() -> None:
    source = Sorted(classes=(0,) * 10 + (1,) * 100 + (2,) * 100, are_bad=False)
    assert shares_of(PriorShifted(source, LABELS, (0.5, 0.25, 0.25))).tolist() == [10, 5, 5]


def test_random_shares_are_those_of_language_and_seed() -> None:
    source = Sorted()
    one = PriorShifted(source, LABELS, None, seed=1)
    assert one.wanted.sum() == pytest.approx(1)
    test = PriorShifted(Sorted(split="test"), LABELS, None, seed=1)
    assert one.wanted.tolist() == test.wanted.tolist()
    assert one.wanted.tolist() != PriorShifted(source, LABELS, None, seed=2).wanted.tolist()
    assert one.wanted.tolist() != PriorShifted(Sorted("fr"), LABELS, None, seed=1).wanted.tolist()


class Words(Sorted):
    def examples(
        self, labels: LabelSet | None, limit: int | None = None
    ) -> Iterator[Example | BadRow]:
        rng = np.random.default_rng(0)
        for line in range(1, 401):
            own = tuple(rng.choice(3, size=6, p=[0.7, 0.2, 0.1]).tolist())
            known = own if labels is not None else None
            yield Example(f"id{line}", "de", ("w",) * 6, None, None, known, "f", line)


def test_sentences_come_nearer_to_the_shares() -> None:
    rows = PriorShifted(Words(), LABELS, (0.2, 0.2, 0.6), 80).examples(LABELS)
    found = [label for row in rows if isinstance(row, Example) for label in row.labels]  # type: ignore[union-attr]
    assert len(found) == 480
    shares = np.bincount(found, minlength=3) / 480
    assert shares[2] > 0.15
    many = list(PriorShifted(Words(), LABELS, (0.2, 0.2, 0.6), 5000).examples(LABELS))
    assert len(many) == 200, "at most a half, so that there is something to leave out"
    none = PriorShifted(Words(), LABELS, (0.0, 0.0, 1.0)).examples(LABELS)
    assert all(2 in row.labels for row in none if isinstance(row, Example))  # type: ignore[operator]
    assert shares[0] < 0.65


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6).filter(lambda x: sum(x) > 0.1),
    st.integers(0, 200),
    st.integers(0, 10_000),
)
def test_quotas_fit_what_there_is(shares: list[float], most: int, seed: int) -> None:
    wanted = np.array(shares) / sum(shares)
    there = np.random.default_rng(seed).integers(0, 60, len(shares))
    found = quotas(wanted, there, most)
    assert (found >= 0).all()
    assert (found <= there).all()
    assert found.sum() <= most
    assert (found[wanted == 0] == 0).all()
    size = found.sum()
    assert np.abs(found - wanted * size).max() <= len(shares)


def test_parts_have_no_row_in_common() -> None:
    first, second = (lines(RowRange(Sorted(), at, at + 100).examples(None)) for at in (0, 100))
    assert (first, second) == (list(range(1, 101)), list(range(101, 201)))
    assert lines(RowRange(Sorted(), 100, 200).examples(LABELS, 5)) == list(range(101, 106))
    with pytest.raises(ValueError, match="no row 301"):
        lines(RowRange(Sorted(), 300, 400).examples(None))
