"""A tiny MarianMT checkpoint with random weights, made from some text."""

import io
import json
from collections.abc import Iterable
from pathlib import Path

import sentencepiece
import torch
from transformers import MarianConfig, MarianMTModel


def write_marian(folder: Path, text: Iterable[str], *, seed: int = 0, languages: str = "") -> Path:
    """Write a checkpoint in the layout of the hub.

    Args:
        folder: Where to.
        text: What its vocabulary is made of.
        seed: Seed of its weights.
        languages: Languages that it marks as >>xx<<, separated by spaces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spm = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text), model_writer=spm, vocab_size=200, hard_vocab_limit=False,
        num_threads=1, minloglevel=2,
    )  # fmt: skip
    processor = sentencepiece.SentencePieceProcessor(model_proto=spm.getvalue())
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    names = ["</s>", "<unk>", *(x for x in pieces if x not in ("<s>", "</s>", "<unk>"))]
    names += [f">>{language}<<" for language in languages.split()] + ["<pad>"]
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes(spm.getvalue())
    vocabulary = {name: number for number, name in enumerate(names)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    kind = {"tokenizer_class": "MarianTokenizer", "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(kind))
    pad = len(names) - 1
    config = MarianConfig(
        vocab_size=len(names), d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, max_position_embeddings=64, pad_token_id=pad, eos_token_id=0,
        decoder_start_token_id=pad, forced_eos_token_id=0, init_std=0.5,
    )  # fmt: skip
    torch.manual_seed(seed)
    MarianMTModel(config).save_pretrained(folder)
    return folder
