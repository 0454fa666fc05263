"""Small tokenizers of every kind, trained on the spot."""

from collections.abc import Sequence
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import CanineTokenizer, PreTrainedTokenizerFast

from xlt_ray.data.benchmarks.toy import LANGUAGES, unlabelled_text
from xlt_ray.models.pretrain import PretrainSettings, train_tokenizer

LINES = [" ".join(words) for name in LANGUAGES[:2] for words in unlabelled_text(name, size=60)]

QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen and Llama cut text before merging bytes."""


def wordpiece(lines: Sequence[str] = LINES, size: int = 400) -> PreTrainedTokenizerFast:
    """As BERT: words, then pieces that begin with ## within them; segments."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(
        lines, trainers.WordPieceTrainer(vocab_size=size, special_tokens=special)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip


def metaspace(lines: Sequence[str] = LINES, size: int = 400) -> PreTrainedTokenizerFast:
    """As XLM-R: Unigram, a mark before every word, ``<s> a </s></s> b </s>``."""
    settings = PretrainSettings(vocab_size=size, max_length=64, batch_tokens=64)
    return train_tokenizer([line.split() for line in lines], settings=settings)


def t5(lines: Sequence[str] = LINES, size: int = 400) -> PreTrainedTokenizerFast:
    """As T5: the same pieces, and an end after each text alone."""
    made = metaspace(lines, size).backend_tokenizer
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", pad_token="<pad>", eos_token="</s>"
    )


def deberta(lines: Sequence[str] = LINES, size: int = 400) -> PreTrainedTokenizerFast:
    """As mDeBERTa: the same pieces between BERT's special tokens."""
    made = metaspace(lines, size).backend_tokenizer
    made.add_special_tokens(["[CLS]", "[SEP]"])
    first, last = (made.token_to_id(name) for name in ("[CLS]", "[SEP]"))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", first), ("[SEP]", last)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", pad_token="<pad>", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="<mask>",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip


def _bytes(
    lines: Sequence[str], size: int, special: list[str], *, prefix: bool, split: str | None = None
) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    if split is not None:
        cut = pre_tokenizers.Split(Regex(split), "isolated")
        level = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False)
        made.pre_tokenizer = pre_tokenizers.Sequence([cut, level])
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(lines, trainer)
    return made


def roberta(
    lines: Sequence[str] = LINES, size: int = 500, *, prefix: bool = False
) -> PreTrainedTokenizerFast:
    """As RoBERTa: merges of bytes, in which a blank belongs to the word after it."""
    made = _bytes(lines, size, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], prefix=prefix)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", pad_token="<pad>", bos_token="<s>",
        eos_token="</s>", cls_token="<s>", sep_token="</s>", mask_token="<mask>",
    )  # fmt: skip


def qwen(lines: Sequence[str] = LINES, size: int = 500) -> PreTrainedTokenizerFast:
    """As Qwen: bytes cut by a pattern, with no special token around texts."""
    made = _bytes(lines, size, ["<|endoftext|>", "<|im_end|>"], prefix=False, split=QWEN)
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )


def llama(lines: Sequence[str] = LINES, size: int = 500) -> PreTrainedTokenizerFast:
    """As Llama 3: the same, with a token before texts, and none for padding."""
    made = _bytes(lines, size, ["<|begin|>", "<|end|>"], prefix=False, split=QWEN)
    made.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", pair="<|begin|> $A <|begin|> $B", special_tokens=[("<|begin|>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<|begin|>", eos_token="<|end|>"
    )


def eurobert(lines: Sequence[str] = LINES, size: int = 500) -> PreTrainedTokenizerFast:
    """As EuroBERT: Llama's pieces, between two tokens."""
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|pad|>", "<|mask|>"]
    made = _bytes(lines, size, special, prefix=False, split=QWEN)
    first, last = special[:2]
    made.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B {last}",
        special_tokens=[(first, 0), (last, 1)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token=first, eos_token=last, pad_token="<|pad|>",
        mask_token="<|mask|>",
    )  # fmt: skip


def gemma(
    lines: Sequence[str] = LINES, size: int = 400, *, ends: bool = False
) -> PreTrainedTokenizerFast:
    """As Gemma, and with ``ends`` as mmBERT: blanks become marks, and none stands at the start.

    Real vocabularies of this kind have no piece with a mark inside, so that here lines are cut
    before the mark while the pieces are learnt, and not afterwards.
    """
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=False))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(Regex("▁[^▁]*"), "isolated")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    made.train_from_iterator(lines, trainer)
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Replace("▁", " ")
    single, pair = "<bos> $A", "<bos> $A <bos> $B"
    if ends:
        single, pair = "<bos> $A <eos>", "<bos> $A <eos> $B <eos>"
    made.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    names: dict[str, Any] = {
        "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>",
    }  # fmt: skip
    if ends:
        names["mask_token"] = AddedToken("<mask>", lstrip=True, special=True)
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)


def characters() -> CanineTokenizer:
    """CANINE's: a token per character."""
    return CanineTokenizer()
