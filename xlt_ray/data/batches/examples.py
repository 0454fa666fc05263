"""Tokenised rows as model input: words of sentences or their spans, or one or two whole texts."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from xlt_ray.data.batches.batch import Batch, Spans
from xlt_ray.data.batches.layout import InputLayout
from xlt_ray.data.batches.tokenise import Window, windows
from xlt_ray.data.keyed import items_of, ranges
from xlt_ray.labels import UNLABELLED
from xlt_ray.ops import entities, spans


class InputRow(NamedTuple):
    """One input row: its tokens, how many of them the first text has, and the positions of the
    first and the last sub-word of its words, or of its first token."""

    tokens: np.ndarray
    first: int
    firsts: np.ndarray
    lasts: np.ndarray


class Padded(NamedTuple):
    """Input rows of some examples, [B, T] each, and the positions in them, flattened, of the first
    and the last sub-word of their words, or of their first tokens."""

    input_ids: np.ndarray
    mask: np.ndarray
    segments: np.ndarray
    firsts: np.ndarray
    lasts: np.ndarray


class Examples(ABC):
    """Tokenised rows in flat arrays, ready to be batched; made by :func:`examples_of`.

    Attributes:
        num_windows: [S] input rows of each example.
        longest: [S] tokens of its longest input row, special ones included.
        item_offsets: [S + 1] example i has the items ``item_offsets[i]:item_offsets[i + 1]``.
        num_parts: Examples that come before those of the paired text.
        first_pool: Examples that come before those of the pool.
        part: [S] number of the corpus of each example in the mix.
        adapters: [S] number of the language adapter of each example, if the encoder has such.
    """

    num_windows: np.ndarray
    longest: np.ndarray
    item_offsets: np.ndarray

    def __init__(self, table: pa.Table, layout: InputLayout, languages: Sequence[str] = ()):
        self.layout, self.num_parts, self.first_pool = layout, len(table), len(table)
        self.part = np.zeros(len(table), np.int64)
        self.ids: list[str] = table["id"].to_pylist()
        pieces, self.piece_offsets = items_of(table["pieces"])
        lengths, self.length_offsets = items_of(table["lengths"])
        self.pieces, self.lengths = pieces.astype(np.int64), lengths.astype(np.int64)
        names = {name: index for index, name in enumerate(languages)}
        self.languages = np.array(
            [names.get(x, -1) for x in table["language"].to_pylist()], np.int64
        )
        self.adapters: np.ndarray | None = None
        if layout.adapters:
            spoken = table["language"].to_pylist()
            number = {name: layout.adapter_of(name) for name in set(spoken)}
            self.adapters = np.array([number[name] for name in spoken], np.int64)
        self.prepare()
        columns = table.column_names
        self.labels = self._whole(table, "labels") if "labels" in columns else None
        self.candidates = self._whole(table, "candidates") if "candidates" in columns else None
        self.columns = {name: self._columns(table, name) for name in columns if "." in name}

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def prepare(self) -> None:
        """Find the items and input rows of each example."""

    @abstractmethod
    def rows(self, index: int) -> Iterator[InputRow]:
        """Input rows of an example; together they hold its items in order."""

    @property
    def num_items(self) -> int:
        """Items of all examples."""
        return int(self.item_offsets[-1])

    @property
    def before_pool(self) -> tuple[int, int]:
        """Examples that are not of the pool, and their items."""
        return self.first_pool, int(self.item_offsets[self.first_pool])

    def parts(self, index: int) -> np.ndarray:
        """Sub-words of each word, or of each text."""
        return self.lengths[self.length_offsets[index] : self.length_offsets[index + 1]]

    def columns_of(self, items: np.ndarray | slice, device: torch.device) -> dict[str, Tensor]:
        """The columns beside some items, by name."""
        chosen = {name: values[items] for name, values in self.columns.items()}
        return {name: torch.tensor(values, device=device) for name, values in chosen.items()}

    def _whole(self, table: pa.Table, name: str) -> np.ndarray:
        return self._column(table, name).astype(np.int64)

    def _column(self, table: pa.Table, name: str) -> np.ndarray:
        """[N] values, or [N, K] vectors, of the items."""
        values, offsets = items_of(table[name])
        self._check(name, offsets)
        return values

    def _columns(self, table: pa.Table, name: str) -> np.ndarray:
        """`_column`, with zeros for rows of a corpus that has no such column."""
        is_there_S = table[name].is_valid().to_numpy()
        if is_there_S.all():
            return self._column(table, name)
        values, offsets = items_of(table[name].filter(table[name].is_valid()))
        counts_S = np.diff(self.item_offsets)
        assert np.array_equal(np.diff(offsets), counts_S[is_there_S]), f"{name} is of other items"
        whole = np.zeros((self.num_items, *values.shape[1:]), values.dtype)
        whole[np.repeat(is_there_S, counts_S)] = values
        return whole

    def _check(self, name: str, offsets: np.ndarray) -> None:
        """See whether a column has a value for every item."""
        noun = "words" if self.layout.task == "token" else "texts"
        noun = noun if self.layout.spans is None else "spans"
        self._compare(name, offsets, self.item_offsets, noun)

    def _compare(self, name: str, offsets: np.ndarray, wanted: np.ndarray, noun: str) -> None:
        if not np.array_equal(offsets, wanted):
            row = int(np.flatnonzero(np.diff(offsets) != np.diff(wanted))[0])
            found, there = np.diff(offsets)[row], np.diff(wanted)[row]
            raise ValueError(f"{self.ids[row]}: {found} {name} for {there} {noun}")

    def collate(self, chosen: Sequence[int] | np.ndarray, extra: int = 0) -> Batch:
        """Pad the rows of some examples into one batch; items keep the order of ``chosen``.

        Args:
            chosen: The examples.
            extra: How many of them, the last ones, the objective added.
        """
        chosen = np.asarray(chosen, np.int64)
        rows = self.padded(chosen)
        counts = np.diff(self.item_offsets)[chosen]
        ids = ranges(self.item_offsets[chosen], counts)
        nothing = np.full(len(ids), UNLABELLED, np.int64)
        labels = self.labels[ids] if self.labels is not None else nothing
        sets = self.candidates[ids] if self.candidates is not None else np.zeros(len(ids), np.int64)
        languages = np.repeat(self.languages[chosen], counts)
        sentences = np.repeat(chosen, counts)
        paired = (sentences >= self.num_parts) & (sentences < self.first_pool)
        added = np.arange(len(chosen)) >= len(chosen) - extra
        items = rows.firsts if self.layout.item == "first" else rows.lasts
        arrays = (
            *(rows.input_ids, rows.mask, rows.segments, items),
            *(labels, sets, ids, languages, sentences),
            *(paired, self.part[sentences], np.repeat(added, counts)),
        )
        tensors = (torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)
        columns = self.columns_of(ids, torch.device("cpu"))
        return Batch(
            *tensors,
            columns=columns,
            spans=self.spans_of(chosen, rows.lasts),
            adapters=self._adapters_of(chosen, len(rows.input_ids)),
        )

    def _adapters_of(self, chosen: np.ndarray, rows: int) -> Tensor | None:
        """[B] the adapter of each input row; the row that stands for none has the first."""
        if self.adapters is None:
            return None
        found = np.repeat(self.adapters[chosen], self.num_windows[chosen])
        return torch.from_numpy(found if len(found) else np.zeros(rows, np.int64))

    def padded(self, chosen: np.ndarray) -> Padded:
        """The input rows of some examples, one after the other."""
        none = np.zeros(0, np.int64)
        empty = InputRow(self._tokens([]), 2, none, none)
        rows = [row for index in chosen for row in self.rows(index)] or [empty]
        width = max(3, max(len(row.tokens) for row in rows))
        input_ids = np.full((len(rows), width), self.layout.padding, np.int64)
        mask, segments = np.zeros_like(input_ids), np.zeros_like(input_ids)
        for number, row in enumerate(rows):
            input_ids[number, : len(row.tokens)] = row.tokens
            mask[number, : len(row.tokens)] = 1
            segments[number, row.first : len(row.tokens)] = self.layout.segments
        firsts = np.concatenate([row.firsts + number * width for number, row in enumerate(rows)])
        lasts = np.concatenate([row.lasts + number * width for number, row in enumerate(rows)])
        return Padded(input_ids, mask, segments, firsts, lasts)

    def _tokens(self, *texts: Sequence[int] | np.ndarray) -> np.ndarray:
        """One or two texts with the special tokens around them; a row of none has padding."""
        layout = self.layout
        flat = [layout.before, texts[0]]
        for part in texts[1:]:
            flat += [layout.middle, part]
        whole = np.concatenate([np.asarray(part, np.int64) for part in (*flat, layout.after)])
        return whole if len(whole) else np.array([layout.padding])

    def spans_of(self, chosen: np.ndarray, lasts: np.ndarray) -> Spans | None:
        """The spans of some examples, given where their words end; None: the items are others."""
        return None

    def labels_of(self, logits: Tensor) -> np.ndarray:
        """Labels that the scores of all items make: one per item, or per word of spans.

        Args:
            logits: [N, C] scores of the items, in their order.
        """
        return logits.argmax(dim=1).cpu().numpy()


class Sentences(Examples):
    """Sentences whose items are their words; long ones have several windows."""

    def prepare(self) -> None:
        """Cut every long sentence into windows."""
        self.item_offsets = self.length_offsets
        fitting = np.minimum(self.lengths, self.layout.room)
        ends = np.concatenate([[0], np.cumsum(fitting)])
        sizes = ends[self.length_offsets[1:]] - ends[self.length_offsets[:-1]]
        long = np.flatnonzero(sizes > self.layout.room).tolist()
        self._windows = {index: windows(self.parts(index), self.layout.room) for index in long}
        specials = self.layout.max_length - self.layout.room
        self.num_windows, self.longest = np.ones(len(sizes), np.int64), sizes + specials
        for index, parts in self._windows.items():
            self.num_windows[index] = len(parts)
            self.longest[index] = max(self._size(index, part) for part in parts) + specials
        self.longest = np.maximum(self.longest, 1)
        whole = sizes == np.diff(self.piece_offsets)  # no word of it is cut
        self._is_plain = whole & (self.num_windows == 1)

    def padded(self, chosen: np.ndarray) -> Padded:
        """The input rows, all at once where every sentence is one row and has all its sub-words."""
        if not len(chosen) or not self._is_plain[chosen].all():
            return super().padded(chosen)
        layout, sizes = self.layout, np.diff(self.piece_offsets)[chosen]
        begin, ends = len(layout.before), sizes + len(layout.before)
        whole = np.maximum(ends + len(layout.after), 1)  # a row of nothing has padding
        width, number = max(3, int(whole.max())), np.arange(len(chosen))
        place = np.arange(width)
        input_ids = np.full((len(chosen), width), layout.padding, np.int64)
        input_ids[:, :begin] = layout.before
        if layout.suffix is not None:
            input_ids[number, ends] = layout.suffix
        inside = (place >= begin) & (place < ends[:, None])
        input_ids[inside] = self.pieces[ranges(self.piece_offsets[chosen], sizes)]
        mask = (place < whole[:, None]).astype(np.int64)
        counts = np.diff(self.length_offsets)[chosen]
        lengths = self.lengths[ranges(self.length_offsets[chosen], counts)]
        begins = number * width - (np.cumsum(sizes) - sizes)  # of a row, less what came before it
        lasts = np.cumsum(lengths) + np.repeat(begins + begin - 1, counts)
        return Padded(input_ids, mask, np.zeros_like(mask), lasts - lengths + 1, lasts)

    def _size(self, index: int, window: Window) -> int:
        return int(np.minimum(self.parts(index)[window.start : window.end], self.layout.room).sum())

    def rows(self, index: int) -> Iterator[InputRow]:
        """One row per window; its items are the words that are labelled in it."""
        count = int(self.length_offsets[index + 1] - self.length_offsets[index])
        for window in self._windows.get(index, [Window(0, count, 0, count)]):
            content, ends = self._content(index, window)
            tokens, begin = self._tokens(content), len(self.layout.before)
            own = slice(window.first - window.start, window.last - window.start)
            firsts = np.concatenate([[0], ends])[:-1]
            yield InputRow(tokens, len(tokens), firsts[own] + begin, ends[own] + begin - 1)

    def _content(self, index: int, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Sub-words of a window, over-long words cut, and how many there are up to each word."""
        sizes = self.parts(index)
        before = int(self.piece_offsets[index] + sizes[: window.start].sum())
        sizes = sizes[window.start : window.end]
        pieces = self.pieces[before : before + int(sizes.sum())]
        room = self.layout.room
        if len(sizes) and sizes.max() > room:
            inside = np.concatenate([np.arange(size) for size in sizes])
            pieces, sizes = pieces[inside < room], np.minimum(sizes, room)
        return pieces, np.cumsum(sizes)


class SpansOfSentences(Sentences):
    """Sentences whose items are their spans of up to so many words.

    A span is read at the first sub-word of its first word and the last one of its last word, each
    in the window where that word is labelled, so that no window cuts a span.
    """

    def __init__(self, table: pa.Table, layout: InputLayout, languages: Sequence[str] = ()):
        assert layout.spans is not None
        self.kind = layout.spans
        super().__init__(table, layout, languages)
        shapes, offsets = items_of(table["shapes"])
        self._compare("shapes", offsets, self.length_offsets, "words")
        self.shapes = shapes.astype(np.int64)

    def prepare(self) -> None:
        """Cut every sentence into windows, and count its spans."""
        super().prepare()
        counts = spans.num_spans(np.diff(self.length_offsets), self.kind.max_len)
        self.item_offsets = np.concatenate([[0], np.cumsum(counts)])

    def spans_of(self, chosen: np.ndarray, lasts: np.ndarray) -> Spans:
        """The spans of some sentences."""
        counts = np.diff(self.length_offsets)[chosen]
        words_W = ranges(self.length_offsets[chosen], counts)
        spans_N2, offsets = spans.enumerate_many(counts, self.kind.max_len)
        spans_N2 = spans.end_to_end(spans_N2, counts, offsets)
        ends_W = np.concatenate([[0], np.cumsum(self.lengths[words_W])])
        widths_N = ends_W[spans_N2[:, 1] + 1] - ends_W[spans_N2[:, 0]]
        arrays = spans_N2, lasts, widths_N, self.shapes[words_W]
        return Spans(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))

    def labels_of(self, logits: Tensor) -> np.ndarray:
        """BIO labels of all words: the likeliest spans that do not overlap."""
        count = np.diff(self.length_offsets)
        return entities.tags_of_scores(logits, count, self.kind.max_len, self.kind.labels)

    def _whole(self, table: pa.Table, name: str) -> np.ndarray:
        """[N] classes of the spans; they have no candidate sets."""
        values, offsets = items_of(table[name])
        self._compare(name, offsets, self.length_offsets, "words")
        if name == "candidates":
            return np.zeros(self.num_items, np.int64)
        tags, counts = values.astype(np.int64), np.diff(offsets)
        return spans.labels_of_many(tags, counts, self.kind.max_len, self.kind.labels)


class Texts(Examples):
    """Texts, or pairs of texts, each of which is one item, read at its first token.

    What is too long is cut at the end of the longer text, sub-word by sub-word, the second one on
    equality, until the row fits.
    """

    def prepare(self) -> None:
        """Cut texts to the room there is."""
        count = len(self.ids)
        self.item_offsets = np.arange(count + 1)
        self.num_windows = np.ones(count, np.int64)
        self._kept = [self._fitting(self.parts(index)) for index in range(count)]
        specials = self.layout.max_length - self._room
        longest = np.array([sum(kept) for kept in self._kept], np.int64) + specials
        self.longest = np.maximum(longest, 1)

    @property
    def _room(self) -> int:
        return self.layout.pair_room if self.layout.task == "pair" else self.layout.room

    def _fitting(self, sizes: np.ndarray) -> list[int]:
        if self.layout.task == "sentence":
            return [min(int(sizes[0]), self._room)]
        first, second = (int(size) for size in sizes)
        short = min(first, second)
        if first + second <= self._room:
            return [first, second]
        if 2 * short <= self._room - 1:
            kept = self._room - short
            return [kept, second] if first > second else [first, kept]
        return [self._room - self._room // 2, self._room // 2]

    def rows(self, index: int) -> Iterator[InputRow]:
        """One row: prefix, first text, suffix, and of a pair the second text and another suffix."""
        layout, at = self.layout, int(self.piece_offsets[index])
        kept, sizes = self._kept[index], self.parts(index)
        texts = [self.pieces[at : at + kept[0]]]
        around = layout.after
        if layout.task == "pair":
            at += int(sizes[0])
            texts.append(self.pieces[at : at + kept[1]])
            around = layout.middle
        first = len(layout.before) + kept[0] + len(around)
        start = np.zeros(1, np.int64)
        yield InputRow(self._tokens(*texts), first, start, start)


def examples_of(table: pa.Table, layout: InputLayout, languages: Sequence[str] = ()) -> Examples:
    """Tokenised rows ready to be batched.

    Args:
        table: Rows in the schema :data:`xlt_ray.data.batches.tokenise.TOKENISED`, perhaps with
            ``labels`` and ``candidates``, one of each per item.
        layout: How they become model input.
        languages: Names by language number.

    Raises:
        ValueError: a row has another number of labels than items.
    """
    if layout.spans is not None:
        return SpansOfSentences(table, layout, languages)
    return (Sentences if layout.task == "token" else Texts)(table, layout, languages)
