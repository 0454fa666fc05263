"""Pre-trains a small multilingual encoder from scratch: tokenizer, then masked LM.

The result has the layout of XLM-R (special tokens, position ids, files), so the code that
fine-tunes a large published encoder runs on it unchanged. Same sentences, settings, seed and
thread count give the same bytes.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors, trainers
from tokenizers.decoders import Metaspace
from torch import Tensor
from torch.nn.functional import cross_entropy

from xlt_ray.data.stock import stock

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForMaskedLM

_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_BOS, _PAD, _EOS, _UNK = range(4)


@dataclass(frozen=True)
class PretrainSettings:
    """Shape of the encoder and length of its pre-training.

    Attributes:
        layers: Transformer layers.
        hidden: Width.
        heads: Attention heads.
        feed_forward: Inner width of the feed-forward blocks.
        vocab_size: Most entries of the vocabulary, special tokens included.
        max_length: Most pieces of an input.
        steps: Optimiser steps.
        batch_tokens: Most pieces of a batch, padding included.
        learning_rate: Peak of the linear warm-up and cosine decay.
        warmup: Share of the steps that warm up.
        weight_decay: AdamW decay of the matrices.
        mask_share: Share of the pieces to predict.
        dropout: Dropout written to the config, for fine-tuning.
    """

    layers: int = 2
    hidden: int = 128
    heads: int = 4
    feed_forward: int = 256
    vocab_size: int = 1200
    max_length: int = 128
    steps: int = 1000
    batch_tokens: int = 1024
    learning_rate: float = 2e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    mask_share: float = 0.2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in (
            "layers", "hidden", "heads", "feed_forward", "max_length", "steps", "batch_tokens"
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed: 1 or more")
        if self.hidden % self.heads:
            raise ValueError(f"hidden is {self.hidden}, allowed: a multiple of heads={self.heads}")
        if self.batch_tokens < self.max_length:
            raise ValueError(
                f"batch_tokens is {self.batch_tokens}, "
                f"allowed: max_length={self.max_length} or more"
            )
        for name in ("warmup", "mask_share", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed: 0 up to below 1")


def pretrain(
    sentences: Sequence[Sequence[str]],
    folder: Path,
    *,
    settings: PretrainSettings,
    seed: int,
    threads: int,
) -> dict[str, float]:
    """Trains a tokenizer and an encoder on plain sentences and writes both as an HF folder.

    Args:
        sentences: Sentences as words, of all languages.
        folder: Where config.json, model.safetensors and the tokenizer files go.
        settings: Shape and length of the training.
        seed: Seed of the weights, the order and the masks.
        threads: Threads of torch; part of what the bytes depend on.

    Returns:
        ``steps``, ``tokens`` (pieces seen, padding excluded), ``loss_first`` and ``loss_last``
        (means over the first and the last twentieth of the steps) and ``vocab_size``.

    Raises:
        ValueError: There are no sentences.
    """
    if not sentences:
        raise ValueError("pre-training needs at least one sentence, got none")
    tokenizer = train_tokenizer(sentences, settings=settings)
    rows = _encode(tokenizer, sentences)
    with _reproducible(seed, threads):
        model = stock("XLMRobertaForMaskedLM")(_config(len(tokenizer), settings))
        losses, tokens = _train(model, rows, mask_id=len(tokenizer) - 1, settings=settings)
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    edge = max(1, settings.steps // 20)
    return {
        "steps": settings.steps,
        "tokens": tokens,
        "loss_first": sum(losses[:edge]) / edge,
        "loss_last": sum(losses[-edge:]) / edge,
        "vocab_size": len(tokenizer),
    }


def train_tokenizer(
    sentences: Sequence[Sequence[str]], *, settings: PretrainSettings
) -> "PreTrainedTokenizerFast":
    """A Unigram tokenizer with the special tokens and ids of XLM-R.

    The library's Unigram trainer sums floats in hash order and gives other scores in every
    process. So the pieces come from its BPE trainer, which counts in integers, and the score of
    a piece is the log of its share in the BPE segmentation.

    Args:
        sentences: Sentences as words.
        settings: ``vocab_size`` and ``max_length`` are used.

    Raises:
        ValueError: ``vocab_size`` has no room for the letters of the text.
    """
    space = pre_tokenizers.Metaspace()
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = space
    lines = [" ".join(words) for words in sentences]
    # _SPECIAL and <mask> are added afterwards.
    room = settings.vocab_size - len(_SPECIAL) - 1
    bpe.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=room, show_progress=False))
    if bpe.get_vocab_size() > room:
        raise ValueError(
            f"vocab_size is {settings.vocab_size}, allowed: at least "
            f"{bpe.get_vocab_size() + len(_SPECIAL) + 1}, as many as the text has letters"
        )
    used = Counter(chain.from_iterable(row.tokens for row in bpe.encode_batch(lines)))
    total = sum(used.values())
    scores = {piece: math.log((used[piece] + 0.5) / total) for piece in bpe.get_vocab()}
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    unigram = Tokenizer(
        models.Unigram([*((token, 0.0) for token in _SPECIAL), *ranked], _UNK, byte_fallback=False)
    )
    unigram.pre_tokenizer = space
    unigram.decoder = Metaspace()
    unigram.add_special_tokens([*_SPECIAL, AddedToken("<mask>", lstrip=True, special=True)])
    unigram.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", _BOS), ("</s>", _EOS)],
    )
    return stock("PreTrainedTokenizerFast")(
        tokenizer_object=unigram,
        model_max_length=settings.max_length,
        bos_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        cls_token="<s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token=AddedToken("<mask>", lstrip=True, special=True),
    )


def _config(vocab_size: int, settings: PretrainSettings) -> "XLMRobertaConfig":
    return stock("XLMRobertaConfig")(
        vocab_size=vocab_size,
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=settings.feed_forward,
        # Position ids of this layout start after the padding id.
        max_position_embeddings=settings.max_length + _PAD + 1,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        hidden_dropout_prob=settings.dropout,
        attention_probs_dropout_prob=settings.dropout,
        bos_token_id=_BOS,
        pad_token_id=_PAD,
        eos_token_id=_EOS,
    )


@contextmanager
def _reproducible(seed: int, threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)


def _encode(
    tokenizer: "PreTrainedTokenizerFast", sentences: Sequence[Sequence[str]]
) -> list[list[int]]:
    lines = [list(words) for words in sentences]
    return tokenizer(lines, is_split_into_words=True, truncation=True)["input_ids"]


def _batches(rows: list[list[int]], budget: int) -> Iterator[Tensor]:
    """Endless length-bucketed batches of padded ids, in an order drawn from the global RNG."""
    while True:
        noise = torch.rand(len(rows)).tolist()
        order = sorted(range(len(rows)), key=lambda i: (len(rows[i]), noise[i]))
        batches: list[list[int]] = [[]]
        for i in order:
            # Lengths ascend, so this row is the longest of its batch.
            if batches[-1] and (len(batches[-1]) + 1) * len(rows[i]) > budget:
                batches.append([])
            batches[-1].append(i)
        for number in torch.randperm(len(batches)).tolist():
            chosen = [torch.tensor(rows[i]) for i in batches[number]]
            yield torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True, padding_value=_PAD)


def _masked(ids: Tensor, *, share: float, mask_id: int) -> tuple[Tensor, Tensor]:
    """Input ids with some hidden, and the flat positions to predict.

    Of the positions 80% become the mask, 10% a random piece and 10% stay.
    """
    chance = torch.rand(ids.shape)
    chance[ids <= _EOS] = 1.0
    # One position is always left, so that a batch has a loss.
    positions = torch.unique(
        torch.cat([(chance.flatten() < share).nonzero()[:, 0], chance.flatten().argmin()[None]])
    )
    fate = torch.rand(len(positions))
    shown = ids.flatten().clone()
    random_ids = torch.randint(len(_SPECIAL), mask_id, (len(positions),))
    old = shown[positions]
    shown[positions] = torch.where(
        fate < 0.8, torch.full_like(old, mask_id), torch.where(fate < 0.9, random_ids, old)
    )
    return shown.view_as(ids), positions


def _train(
    model: "XLMRobertaForMaskedLM",
    rows: list[list[int]],
    *,
    mask_id: int,
    settings: PretrainSettings,
) -> tuple[list[float], int]:
    # Gradients flow in eval mode too; it only turns off dropout, which costs more than it gives
    # in a training of about one pass.
    model.eval()
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
    )
    rise = max(1, round(settings.warmup * settings.steps))
    losses: list[float] = []
    tokens = 0
    batches = _batches(rows, settings.batch_tokens)
    for step in range(settings.steps):
        ids = next(batches)
        fall = (step + 1 - rise) / max(1, settings.steps - rise)
        scale = (step + 1) / rise if step < rise else 0.5 * (1 + math.cos(math.pi * fall))
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * scale
        shown, positions = _masked(ids, share=settings.mask_share, mask_id=mask_id)
        hidden = model.roberta(input_ids=shown, attention_mask=(ids != _PAD).long())[0]
        # Only hidden positions meet the vocabulary. index_select adds one gradient per row,
        # where a boolean mask would scatter with atomics in an order that may change.
        logits = model.lm_head(hidden.flatten(0, 1).index_select(0, positions))
        loss = cross_entropy(logits, ids.flatten()[positions])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        tokens += int((ids != _PAD).sum())
    return losses, tokens
