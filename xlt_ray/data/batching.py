"""Batches under a token budget: planned by length, never padded to a fixed size."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from xlt_ray.data.tokenise import Window, windows
from xlt_ray.labels import UNLABELLED


@dataclass(frozen=True)
class Layout:
    """How sub-words become model input."""

    prefix: int
    suffix: int
    padding: int
    max_length: int

    @property
    def room(self) -> int:
        """Sub-words of a window, special tokens not counted."""
        return self.max_length - 2


def layout_of(tokenizer: Any, max_length: int) -> Layout:
    """Read the special tokens off a tokenizer (XLM-R: <s> ... </s>, BERT: [CLS] ... [SEP])."""
    prefix = tokenizer.bos_token_id if tokenizer.cls_token_id is None else tokenizer.cls_token_id
    suffix = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
    return Layout(prefix, suffix, tokenizer.pad_token_id, max_length)


@dataclass
class Batch:
    """Model input for some sentences.

    Attributes:
        input_ids: [B, T] sub-words, one row per window.
        attention_mask: [B, T] 1 on sub-words, 0 on padding.
        items: [N] positions of the first sub-words in the flattened input, by sentence and word.
        labels: [N] class of each item, or -100.
        candidates: [N] candidate set of each item as a bit mask; 0: just its label.
        item_ids: [N] number of each item among all that the worker holds.
        languages: [N] number of each item's language.
    """

    input_ids: Tensor
    attention_mask: Tensor
    items: Tensor
    labels: Tensor
    candidates: Tensor
    item_ids: Tensor
    languages: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        moved = {name: value.to(device, non_blocking=True) for name, value in vars(self).items()}
        return Batch(**moved)

    @property
    def num_items(self) -> int:
        """Items that carry a label."""
        return int((self.labels != UNLABELLED).sum())


class Examples:
    """Tokenised sentences in flat arrays, ready to be batched.

    Sentence i has the windows ``window_offsets[i]:window_offsets[i+1]`` and the items
    ``item_offsets[i]:item_offsets[i+1]`` (its words).
    """

    def __init__(self, table: pa.Table, layout: Layout, languages: Sequence[str] = ()):
        self.layout = layout
        self.ids: list[str] = table["id"].to_pylist()
        self.pieces, self.piece_offsets = _flat(table["pieces"])
        self.lengths, self.item_offsets = _flat(table["lengths"])
        names = {name: index for index, name in enumerate(languages)}
        self.languages = np.array(
            [names.get(x, -1) for x in table["language"].to_pylist()], np.int64
        )
        columns = table.column_names
        self.labels = self._column(table, "labels", UNLABELLED) if "labels" in columns else None
        self.candidates = self._column(table, "candidates", 0) if "candidates" in columns else None
        self._windows = [windows(self._words(i), layout.room) for i in range(len(self.ids))]
        self.num_windows = np.array([len(item) for item in self._windows], np.int64)
        longest = [max(self._size(i, w) for w in self._windows[i]) for i in range(len(self.ids))]
        self.longest = np.array(longest, np.int64) + 2

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_items(self) -> int:
        """Words of all sentences."""
        return len(self.lengths)

    def _column(self, table: pa.Table, name: str, missing: int) -> np.ndarray:
        values, offsets = _flat(table[name], missing=missing)
        if not np.array_equal(offsets, self.item_offsets):
            row = int(np.flatnonzero(np.diff(offsets) != np.diff(self.item_offsets))[0])
            found, wanted = np.diff(offsets)[row], np.diff(self.item_offsets)[row]
            raise ValueError(f"{self.ids[row]}: {found} {name} for {wanted} words")
        return values

    def _words(self, index: int) -> np.ndarray:
        return self.lengths[self.item_offsets[index] : self.item_offsets[index + 1]]

    def _size(self, index: int, window: Window) -> int:
        return int(
            np.minimum(self._words(index)[window.start : window.end], self.layout.room).sum()
        )

    def _content(self, index: int, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Sub-words of a window, over-long words cut, and where its words begin in them."""
        sizes = self._words(index)
        before = int(self.piece_offsets[index] + sizes[: window.start].sum())
        sizes = sizes[window.start : window.end]
        pieces = self.pieces[before : before + int(sizes.sum())]
        room = self.layout.room
        if len(sizes) and sizes.max() > room:
            inside = np.concatenate([np.arange(size) for size in sizes])
            pieces, sizes = pieces[inside < room], np.minimum(sizes, room)
        return pieces, np.cumsum(sizes) - sizes

    def collate(self, chosen: Sequence[int] | np.ndarray) -> Batch:
        """Pad the windows of some sentences into one batch; items keep the order of ``chosen``."""
        width = int(self.longest[chosen].max()) if len(chosen) else 3
        rows = int(self.num_windows[chosen].sum()) if len(chosen) else 1
        input_ids = np.full((rows, width), self.layout.padding, np.int64)
        mask = np.zeros((rows, width), np.int64)
        positions, owners = [], []
        row = 0
        for index in chosen:
            for window in self._windows[index]:
                content, firsts = self._content(index, window)
                end = len(content) + 1
                input_ids[row, 0], input_ids[row, 1:end] = self.layout.prefix, content
                input_ids[row, end] = self.layout.suffix
                mask[row, : end + 1] = 1
                own = slice(window.first - window.start, window.last - window.start)
                positions.append(firsts[own] + (row * width + 1))
                row += 1
            owners.append(np.arange(self.item_offsets[index], self.item_offsets[index + 1]))
        if not len(chosen):
            input_ids[0, :2] = self.layout.prefix, self.layout.suffix
            mask[0, :2] = 1
        items = np.concatenate(positions) if positions else np.zeros(0, np.int64)
        ids = np.concatenate(owners) if owners else np.zeros(0, np.int64)
        counts = np.diff(self.item_offsets)[chosen] if len(chosen) else np.zeros(0, np.int64)
        nothing = np.full(len(ids), UNLABELLED, np.int64)
        labels = self.labels[ids] if self.labels is not None else nothing
        sets = self.candidates[ids] if self.candidates is not None else np.zeros(len(ids), np.int64)
        languages = np.repeat(self.languages[chosen], counts) if len(chosen) else ids
        arrays = (input_ids, mask, items, labels, sets, ids, languages)
        return Batch(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def _flat(column: pa.ChunkedArray, missing: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    if missing is not None and array.null_count:
        raise ValueError(f"{array.null_count} rows have no value")
    sizes = array.value_lengths().to_numpy(zero_copy_only=False) if len(array) else np.zeros(0)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return array.flatten().to_numpy(zero_copy_only=False).astype(np.int64), offsets


def plan_batches(
    longest: np.ndarray, rows: np.ndarray, budget: int, *, order: np.ndarray | None = None
) -> list[np.ndarray]:
    """Cut sentences into batches of similar length.

    Args:
        longest: [N] sub-words of each sentence's longest window, special tokens included.
        rows: [N] windows of each sentence.
        budget: Largest rows x longest of a batch; a sentence that exceeds it alone is a batch.
        order: The sentences to cut, default all; they are sorted by length, ties by position.

    Returns:
        Index arrays that together hold every sentence of ``order`` once.
    """
    chosen = np.arange(len(longest)) if order is None else np.asarray(order)
    chosen = chosen[np.argsort(longest[chosen], kind="stable")]
    batches, current, height = [], [], 0
    for index in chosen:
        height += int(rows[index])
        if current and height * int(longest[index]) > budget:
            batches.append(np.array(current, np.int64))
            current, height = [], int(rows[index])
        current.append(int(index))
    if current:
        batches.append(np.array(current, np.int64))
    return batches


def plan_epoch(
    longest: np.ndarray, batch_size: int, *, seed: int, pool: int = 50
) -> list[np.ndarray]:
    """Cut a shuffled epoch into optimiser steps of similar length.

    Sentences are shuffled, sorted by length within pools of ``pool`` batches, cut, and the batches
    shuffled, so that padding is small and the order still random.

    Args:
        longest: [N] length of each sentence.
        batch_size: Sentences per step; the last one may be smaller.
        seed: Seed of the order.
        pool: Batches per pool.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(longest))
    steps = []
    for start in range(0, len(order), batch_size * pool):
        part = order[start : start + batch_size * pool]
        part = part[np.argsort(longest[part], kind="stable")]
        steps += [part[at : at + batch_size] for at in range(0, len(part), batch_size)]
    return [steps[index] for index in generator.permutation(len(steps))]


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed from a run's seed and what it is for."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
