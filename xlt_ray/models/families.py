"""Ways in which families of encoders differ, besides their heads.

A family is handled by what its configuration and its modules are, not by its name: the dropouts
that its configuration has, the list of its layers and what stands below it, and what its encoder
takes as input. `docs/encoders.md` lists the families that are tested.
"""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.subwords import padding_of
from xlt_ray.data.batches.tokenise import load_tokenizer
from xlt_ray.data.schema import Task
from xlt_ray.data.stock import stock

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

TESTED = (
    "bert", "xlm-roberta", "xlm-roberta-xl", "roberta", "camembert", "distilbert", "deberta-v2",
    "electra", "rembert", "xmod", "canine", "modernbert", "eurobert", "t5", "mt5", "umt5",
    "nomic_bert", "jina_embeddings_v3", "qwen2", "qwen3", "llama", "gemma2", "gemma3_text",
)  # fmt: skip
"""Families that tests go through; others are tried, and refused where they differ."""

_DROPOUT = re.compile(r"dropout|_pdrop$")
_LAYERS = (
    "encoder.layer", "encoder.layers", "encoder.block", "layers", "transformer.layer", "layer",
    "h", "transformer.h",
)  # fmt: skip
"""Where lists of layers are; an encoder with several kinds has the one that comes first."""
_BELOW = (
    "embeddings", "embed_tokens", "shared", "wte", "wpe", "word_embedding", "emb_ln",
    "embeddings_project", "encoder.embedding_hidden_mapping_in", "encoder.rel_embeddings",
    "encoder.LayerNorm", "char_embeddings", "initial_char_encoder", "chars_to_molecules",
)  # fmt: skip
"""What stands below the layers, or belongs to all of them: embeddings of tokens and positions, and
what makes the first layer's input of them."""
_AFTER_FIRST = "encoder.conv"
"""Of DeBERTa: a convolution of the embeddings, added to the first layer's output."""


def config_for(folder: str | Path, labels: Sequence[str], dropout: float) -> "PreTrainedConfig":
    """A folder's configuration with other labels, and with one rate for all of its dropouts."""
    config = stock("AutoConfig").from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    for name in [name for name in vars(config) if _DROPOUT.search(name)]:
        setattr(config, name, dropout)
    config.classifier_dropout = dropout
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: index for index, name in enumerate(labels)}
    if config.pad_token_id is None:  # stock classifiers look for it
        config.pad_token_id = padding_of(load_tokenizer(str(folder)))
    return config


def check_class(config: Mapping[str, Any], what: str, task: Task) -> None:
    """See that transformers has a classifier of a family for a task, and a model all that it reads.

    Args:
        config: The model's config.json.
        what: What the message begins with.
        task: "token", "sentence" or "pair".

    Raises:
        ValueError: it has none; the message lists tested families that have one. Or texts are read
            with a decoder, and there is an encoder alone.
    """
    stock("AutoConfig")
    from transformers import __version__
    from transformers.models.auto import modeling_auto as known

    family = config["model_type"]
    kind, names = "sequence", known.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    if task == "token":
        kind, names = "token", known.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES
    if family not in names:
        others = ", ".join(name for name in TESTED if name in names)
        raise ValueError(
            f"{what}: transformers {__version__} has no class for {kind} classification of the "
            f"family {family}; tested families that have one: {others}"
        )
    made = (config.get("architectures") or [""])[0]
    if task != "token" and made.endswith("EncoderModel"):
        raise ValueError(
            f"{what}: {names[family]} reads texts with a decoder, and {made} is an encoder alone; "
            "take the whole model, or a task of tokens"
        )


def check_masked_lm(config: Mapping[str, Any], what: str) -> None:
    """See that transformers has a masked LM of a family.

    Raises:
        ValueError: it has none; the message lists tested families that have one.
    """
    stock("AutoConfig")
    from transformers.models.auto import modeling_auto as known

    names, family = known.MODEL_FOR_MASKED_LM_MAPPING_NAMES, config["model_type"]
    if family not in names:
        others = ", ".join(name for name in TESTED if name in names)
        raise ValueError(
            f"{what}: transformers has no masked LM of the family {family}, so hidden words cannot "
            f"be guessed: method.w_mlm=0; tested families that have one: {others}"
        )


def layers_of(encoder: nn.Module) -> nn.ModuleList:
    """The layers of an encoder, lowest first.

    Raises:
        ValueError: they are not in a list of their own, as where layers share their weights.
    """
    for name in _LAYERS:
        found = _part(encoder, name)
        if isinstance(found, nn.ModuleList):
            return found
    raise ValueError(
        f"backbone: {type(encoder).__name__} has no list of layers with weights of their own, so "
        "none can be frozen: train.freeze_embeddings=false, and null frozen layers"
    )


def frozen_parts(encoder: nn.Module, layers: int) -> Iterator[nn.Module]:
    """What is kept as it is with the embeddings and so many of the lowest layers.

    Adapters of languages are kept too, in all layers: a target's adapter takes the place of the
    source's, and has to fit what was learnt with that one (Pfeiffer et al., 2022, X-MOD).

    Raises:
        ValueError: the encoder has fewer layers, or none that can be told apart.
    """
    stack = layers_of(encoder)
    if layers > len(stack):
        raise ValueError(f"{layers} layers cannot be frozen, the encoder has {len(stack)}")
    for name in (*_BELOW, *((_AFTER_FIRST,) if layers else ())):
        if (part := _part(encoder, name)) is not None:
            yield part
    yield from stack[:layers]
    for name, part in encoder.named_modules():
        if name.endswith(("adapter_modules", "adapter_layer_norm")):
            yield part


def _part(encoder: nn.Module, name: str) -> nn.Module | None:
    found: Any = encoder
    for step in name.split("."):
        found = getattr(found, step, None)
    return found if isinstance(found, nn.Module) else None


def inputs_of(model: "PreTrainedModel", batch: Batch) -> dict[str, Tensor | bool]:
    """What the encoder of a stock model takes of a batch.

    Segments go where it has several, the adapter of each row where it has such; the decoder of a
    sequence-to-sequence classifier reads the same tokens, one later. Position ids are the model's
    own affair.
    """
    inputs: dict[str, Any] = inputs_like(model, batch.input_ids, batch.attention_mask)
    if "token_type_ids" in inputs:
        inputs["token_type_ids"] = batch.segments
    if batch.adapters is not None:
        inputs["lang_ids"] = batch.adapters
    if has_decoder(model):
        shift: Any = model._shift_right
        inputs["decoder_input_ids"] = shift(batch.input_ids)
    return inputs


def inputs_like(model: "PreTrainedModel", ids: Tensor, mask: Tensor) -> dict[str, Tensor | bool]:
    """Input of a stock model, all of it one segment."""
    inputs: dict[str, Tensor | bool] = {"input_ids": ids, "attention_mask": mask}
    if "use_cache" in inspect.signature(type(model.base_model).forward).parameters:
        inputs["use_cache"] = False  # decoders would keep keys and values of all layers
    if (getattr(model.config, "type_vocab_size", 1) or 1) > 1:
        inputs["token_type_ids"] = torch.zeros_like(ids)
    return inputs


def has_decoder(model: "PreTrainedModel") -> bool:
    """Whether the base of a model has an encoder and a decoder."""
    return isinstance(_part(model.base_model, "decoder"), nn.Module) and isinstance(
        _part(model.base_model, "encoder"), nn.Module
    )


def bare_encoder(config: "PreTrainedConfig") -> tuple[Any, dict[str, Any]]:
    """The class that loads an encoder without a head, and what it is told besides."""
    stock("AutoConfig")
    from transformers.models.auto import modeling_auto as known

    encoders: Any = known.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES
    name = str(encoders.get(config.model_type, ""))
    if name.endswith("EncoderModel"):  # of T5 and its like, whose whole has a decoder
        return stock("AutoModelForTextEncoding"), {}
    name = known.MODEL_MAPPING_NAMES.get(config.model_type)
    assert isinstance(name, str), f"check_whole has seen that {config.model_type} is known"
    return stock("AutoModel"), pooling_flag(stock(name))


def pooling_flag(kind: Any) -> dict[str, bool]:
    """Tells a class that can have a pooler to have none."""
    known: Mapping[str, Any] = inspect.signature(kind.__init__).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in known else {}
