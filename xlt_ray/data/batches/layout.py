"""How sub-words become model input: what a tokenizer puts around texts, and what a model reads.

What stands around a text is read off the tokenizer, so that others who load the model with it
give it the same input: XLM-R has ``<s> a </s></s> b </s>``, BERT ``[CLS] a [SEP] b [SEP]`` with
segments, T5 ``a </s> b </s>``, Gemma ``<bos> a <bos> b``, Qwen nothing at all.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from xlt_ray.data.batches.subwords import padding_of
from xlt_ray.data.batches.tokenise import load_tokenizer
from xlt_ray.data.schema import Task
from xlt_ray.data.stock import stock
from xlt_ray.labels import LabelSet


@dataclass(frozen=True)
class SpanItems:
    """Spans as the items of sentences, in place of words.

    Attributes:
        max_len: Words of the longest span.
        labels: BIO labels of the words, from which spans have their classes: O and the types.
    """

    max_len: int
    labels: LabelSet


@dataclass(frozen=True)
class InputLayout:
    """How sub-words become model input.

    Attributes:
        prefix: Special token before the first text; None: there is none.
        suffix: Special token after each text; None: there is none.
        padding: Token that fills up shorter rows.
        max_length: Longest row, special tokens included.
        joint: How many suffixes stand between the two texts of a pair.
        task: Kind of task: what the items of a row are.
        mask: Token that stands for one that is hidden; None: the tokenizer has none.
        spans: Of a token task, that the items are spans; None: words.
        between: Tokens between the two texts of a pair; None: so many suffixes.
        segments: Whether the second text of a pair is told from the first by its segment.
        item: The sub-word that a word is read at: its last one where the model looks to the left
            only, and has not seen the rest of the word at the first.
        adapters: Languages of the encoder's adapters, in their order; none: it has none.
        adapter: The one of languages without an adapter; absent: they are refused.
    """

    prefix: int | None
    suffix: int | None
    padding: int
    max_length: int
    joint: int = 2
    task: Task = "token"
    mask: int | None = None
    spans: SpanItems | None = None
    between: tuple[int, ...] | None = None
    segments: bool = True
    item: Literal["first", "last"] = "first"
    adapters: tuple[str, ...] = ()
    adapter: str | None = None

    @property
    def before(self) -> tuple[int, ...]:
        """Special tokens before the first text."""
        return () if self.prefix is None else (self.prefix,)

    @property
    def after(self) -> tuple[int, ...]:
        """Special tokens after the last text."""
        return () if self.suffix is None else (self.suffix,)

    @property
    def middle(self) -> tuple[int, ...]:
        """Special tokens between the two texts of a pair."""
        return self.after * self.joint if self.between is None else self.between

    @property
    def specials(self) -> frozenset[int]:
        """All of them, and padding."""
        return frozenset((*self.before, *self.middle, *self.after, self.padding))

    @property
    def room(self) -> int:
        """Sub-words of a row of one text, special tokens not counted."""
        return self.max_length - len(self.before) - len(self.after)

    @property
    def pair_room(self) -> int:
        """Sub-words of a row of two texts, special tokens not counted."""
        return self.room - len(self.middle)

    def adapter_of(self, language: str) -> int:
        """Position in `adapters` of a language's: of its name, or of its code before ``_``.

        Raises:
            ValueError: there is none, and no other one is taken for such languages.
        """
        code = language.lower().replace("-", "_")
        names = [name.lower() for name in self.adapters]
        for found in (names, [name.partition("_")[0] for name in names]):
            if code in found:
                return found.index(code)
        if self.adapter is not None:
            return self.adapters.index(self.adapter)
        raise ValueError(
            f"backbone: no adapter for the language {language!r}, there are "
            f"{', '.join(self.adapters)}; default_language in config.json is taken for others"
        )


def layout_of(
    tokenizer: Any,
    max_length: int,
    task: Task = "token",
    spans: SpanItems | None = None,
    config: Mapping[str, Any] | None = None,
) -> InputLayout:
    """How a tokenizer and a model have their input.

    Args:
        tokenizer: Tells the special tokens and segments.
        max_length: Longest row.
        task: Kind of task.
        spans: Of a token task, that the items are spans.
        config: The model's config.json; None: of an encoder that looks to both sides.

    Raises:
        ValueError: the tokenizer puts several tokens before or after a text.
    """
    config = config or {}
    prefix, between, suffix, segments = _around(tokenizer)
    joint = len(between) if suffix is not None and set(between) <= {suffix} else None
    return InputLayout(
        prefix, suffix, padding_of(tokenizer), max_length, joint or 0, task,
        tokenizer.mask_token_id, spans,
        between=None if joint else between,
        segments=segments,
        item="last" if is_causal(config) else "first",
        adapters=tuple(config.get("languages", ())) if "adapter_reduction_factor" in config else (),
        adapter=config.get("default_language"),
    )  # fmt: skip


def layout_in(
    folder: Path,
    max_length: int,
    task: Task = "token",
    spans: SpanItems | None = None,
    tokenizer: Any = None,
) -> InputLayout:
    """`layout_of` for the model of a folder and its tokenizer, which may be loaded already."""
    config = json.loads((folder / "config.json").read_bytes())
    tokenizer = load_tokenizer(str(folder)) if tokenizer is None else tokenizer
    return layout_of(tokenizer, max_length, task, spans, config)


LONGEST = 512
"""Sub-words of a row where neither a model nor a setting has a limit."""
_AFTER_PAD = {"camembert", "data2vec-text", "longformer", "mpnet", "xmod"}
"""Encoders that count positions from the padding id + 1, besides those named roberta."""


def longest_input(config: Mapping[str, Any]) -> int | None:
    """Tokens that a model takes, special ones included; None: it does not say, as T5."""
    longest, family = config.get("max_position_embeddings"), config.get("model_type", "")
    if longest is not None and ("roberta" in family or family in _AFTER_PAD):
        longest -= config.get("pad_token_id", 1) + 1
    return longest


def is_causal(config: Mapping[str, Any]) -> bool:
    """Whether a model looks to the left only, as decoders do unless their config says otherwise."""
    stock("AutoConfig")
    from transformers.models.auto import modeling_auto as known

    family = config.get("model_type")
    is_decoder = family in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if not is_decoder or family in known.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return False
    return bool(config.get("is_causal", True)) and not config.get("use_bidirectional_attention")


def _around(tokenizer: Any) -> tuple[int | None, tuple[int, ...], int | None, bool]:
    """Special tokens before, between and after two texts, and whether segments tell them apart."""
    alone = tokenizer("a", add_special_tokens=False)["input_ids"]
    one, pair = tokenizer("a"), tokenizer("a", "a")
    before, after = _ends(one["input_ids"], alone)
    whole: list[int] = list(pair["input_ids"])
    if not before and not after and None not in (tokenizer.cls_token_id, tokenizer.sep_token_id):
        # A tokenizer without a template, of an encoder that was trained with both tokens.
        separator = tokenizer.sep_token_id
        return tokenizer.cls_token_id, (separator,), separator, False
    if len(before) > 1 or len(after) > 1:
        raise ValueError(
            f"backbone: its tokenizer puts {len(before)} tokens before a text and {len(after)} "
            "after it, allowed: one each"
        )
    rest = whole[len(before) + len(alone) :]
    between = tuple(rest[: len(rest) - len(after) - len(alone)])
    segments = any(pair.get("token_type_ids") or ())
    return (before or [None])[0], between, (after or [None])[0], segments


def _ends(whole: Sequence[int], part: Sequence[int]) -> tuple[list[int], list[int]]:
    """What stands before and after a part, which is looked for from the left."""
    size = len(part)
    for start in range(len(whole) - size + 1):
        if list(whole[start : start + size]) == list(part):
            return list(whole[:start]), list(whole[start + size :])
    raise ValueError("backbone: its tokenizer reads a text in another way beside special tokens")
