"""Heads of stock classifiers: what they make of an encoder's states, up to their last layer.

A head is that of the family's own class, so that what is saved is loaded without us. Its last layer
is linear everywhere; before it some have nothing, some a layer and an activation, some a layer per
sub-word and a mean over the text. What enters the last layer, before its dropout, is a classifier's
feature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from xlt_ray.models.families import has_decoder, inputs_like

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Pooling = Literal["first", "mean", "late", "last", "eos", "own"]
"""Which state is that of a text: of its first token, the mean over its tokens, the mean of what the
layers before the last make of each token, that of the last token which is no padding, or of the
last token that ends a text; or what the encoder itself makes of states between its layers."""


@dataclass(frozen=True)
class Head:
    """The parts of a stock head.

    Attributes:
        last: The linear layer that gives the logits.
        dropout: The dropout before it.
        lift: What comes before that, from states to features.
        pool: Which state a text has.
    """

    last: nn.Linear
    dropout: nn.Module
    lift: Callable[[Tensor], Tensor]
    pool: Pooling = "first"


def token_head(model: "PreTrainedModel") -> Head | None:
    """The head of a stock token classifier; None: of a kind that is not known."""
    last = _child(model, "classifier", "score")
    if not isinstance(last, nn.Linear):
        return None
    dropout = _child(model, "dropout", "drop") or nn.Identity()
    return Head(last, dropout, _child(model, "head") or _unchanged)


def text_head(model: "PreTrainedModel") -> Head | None:
    """The head of a stock sequence classifier; None: of a kind that is not known."""
    config, top = model.config, _child(model, "classifier", "classification_head", "score")
    dropout = _child(model, "dropout", "drop") or nn.Identity()
    if isinstance(top, nn.Linear):
        if _child(model, "score") is top:
            return Head(top, nn.Identity(), _unchanged, "last")
        if (first := _child(model, "pre_classifier")) is not None:
            return Head(top, dropout, lambda states: torch.relu(first(states)))
        pool = _pooling(getattr(config, "classifier_pooling", "cls"))
        if (head := _child(model, "head")) is not None:
            return Head(top, dropout, head, pool)
        if (dense := _child(model, "dense")) is not None:
            act: Any = _child(model, "activation") or torch.tanh
            return Head(top, dropout, lambda states: act(dense(states)), pool)
        pooler = _child(model, "pooler") or _child(model.base_model, "pooler")
        if _child(model.base_model, "chars_to_molecules") is not None:  # pools before characters
            return Head(top, dropout, _unchanged, "own")
        if pooler is not None:
            return Head(top, dropout, lambda states: pooler(states[:, None]))
        return None
    parts = [_child(top, name) for name in ("out_proj", "dropout", "dense")] if top else [None]
    last, inner, dense = (*parts, None, None)[:3]
    if not isinstance(last, nn.Linear) or inner is None or dense is None:
        return None
    act = _child(top, "activation") or torch.tanh
    pool: Pooling = "eos" if has_decoder(model) else "first"
    return Head(last, inner, lambda states: act(dense(inner(states))), pool)


_MASKED_LM = (
    ("head", "decoder"),
    ("generator_predictions", "generator_lm_head"),
    ("vocab_transform", "activation", "vocab_layer_norm", "vocab_projector"),
)
"""Masked-LM heads of several modules, one after the other; others are one."""


def masked_lm_head(model: "PreTrainedModel") -> Callable[[Tensor], Tensor]:
    """What a stock masked LM has above its encoder, from states to logits over the vocabulary.

    Raises:
        ValueError: it is of a kind that is not known.
    """
    parts = dict(model.named_children())
    parts.pop(model.base_model_prefix, None)
    for names in _MASKED_LM:
        if all(name in parts for name in names):
            return nn.Sequential(*(parts[name] for name in names))
    if len(parts) != 1:
        raise ValueError(
            f"backbone: the masked-LM head of {type(model).__name__} is of several parts that are "
            "not known, so hidden words cannot be guessed: method.w_mlm=0"
        )
    return next(iter(parts.values()))


def _child(module: nn.Module | None, *names: str) -> nn.Module | None:
    """The first of these children that a module has."""
    found = dict(module.named_children()) if module is not None else {}
    return next((found[name] for name in names if name in found), None)


def _unchanged(states: Tensor) -> Tensor:
    return states


def _pooling(name: str) -> Pooling:
    known: dict[str, Pooling] = {"cls": "first", "bos": "first", "mean": "mean", "late": "late"}
    if name not in known:
        raise ValueError(f"config.json: classifier_pooling {name!r}, allowed: {', '.join(known)}")
    return known[name]


def pooled(states_BTH: Tensor, ids: Tensor, mask: Tensor, how: Pooling, config: Any) -> Tensor:
    """[B, H] state of each row.

    Args:
        states_BTH: States of its tokens.
        ids: [B, T] the tokens.
        mask: [B, T] 1 on tokens, 0 on padding.
        how: Which of them.
        config: Of the stock model, which says what is padding and what ends a text.
    """
    if how in ("first", "own"):
        return states_BTH[:, 0]
    if how in ("mean", "late"):
        weight = mask[:, :, None].to(states_BTH.dtype)
        return (states_BTH * weight).sum(dim=1) / weight.sum(dim=1)
    if how == "eos":
        chosen = ids == config.eos_token_id
    else:
        chosen = ids != config.get_text_config().pad_token_id
    place = (torch.arange(ids.shape[1], device=ids.device) * chosen).argmax(dim=1)
    return states_BTH[torch.arange(len(ids), device=ids.device), place]


def text_features(head: Head, found: Any, ids: Tensor, mask: Tensor, config: Any) -> Tensor:
    """[B, H] features of rows: what enters the dropout before the last layer.

    Args:
        head: The parts of the stock head.
        found: What the encoder gives.
        ids: [B, T] the tokens.
        mask: [B, T] 1 on tokens, 0 on padding.
        config: Of the stock model.
    """
    if head.pool == "own":
        return found.pooler_output
    states_BTH: Tensor = found.last_hidden_state
    if head.pool == "late":  # the last layer is linear, so the mean may be taken before it
        return pooled(head.lift(states_BTH), ids, mask, head.pool, config)
    return head.lift(pooled(states_BTH, ids, mask, head.pool, config))


def check_head(model: "PreTrainedModel", head: Head | None, what: str, *, of_texts: bool) -> Head:
    """See that a head says what the stock model says, on a few tokens.

    Args:
        model: The stock model; it is left in the mode it is in.
        head: What was made of it.
        what: What the message begins with.
        of_texts: Whether it is a head of texts, not of tokens.

    Raises:
        ValueError: it says something else, or is of a kind that is not known.
    """
    was_training = model.training
    if head is not None and _agrees(model.eval(), head, of_texts=of_texts):
        model.train(was_training)
        return head
    raise ValueError(
        f"{what}: the head of {type(model).__name__} is of a kind that is not known: allowed are a "
        "linear layer, and one more with an activation before it, over the first token, the last "
        "one or a mean"
    )


@torch.inference_mode()
def _agrees(model: "PreTrainedModel", head: Head, *, of_texts: bool) -> bool:
    ids, mask = probe(model.config, torch.Generator().manual_seed(0))
    inputs: dict[str, Any] = inputs_like(model, ids.to(model.device), mask.to(model.device))
    try:
        wanted = model(**inputs).logits
        if has_decoder(model):
            shift: Any = model._shift_right
            inputs["decoder_input_ids"] = shift(inputs["input_ids"])
        read = model.base_model(**inputs)
        if of_texts:
            given = inputs["input_ids"], inputs["attention_mask"]
            features = text_features(head, read, *given, model.config)
        else:
            features = head.lift(read.last_hidden_state)
        found = head.last(features)
    except (TypeError, RuntimeError, IndexError, AttributeError):  # of a family of another build
        return False
    if found.shape != wanted.shape:
        return False
    if not of_texts:
        found, wanted = found[mask.bool()], wanted[mask.bool()]
    return torch.allclose(found, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()) + 1e-6)


def probe(
    config: Any, generator: torch.Generator, rows: int = 2, width: int = 8
) -> tuple[Tensor, Tensor]:
    """[B, T] tokens and mask of made-up texts, of which all but the first are shorter.

    They end with the token that ends texts, if the model has one, which some heads look for.
    """
    high = getattr(config, "vocab_size", 1000)  # of characters, any number will do
    low = min(5, high - 1)
    ids = torch.randint(low, high, (rows, width), generator=generator)
    mask = torch.ones_like(ids)
    end, padding = getattr(config, "eos_token_id", None), getattr(config, "pad_token_id", None)
    end = end[0] if isinstance(end, list) else end
    for special in {end, padding} - {None}:
        ids[ids == special] = low if special != low else low + 1
    for row in range(rows):
        size = width - row % width
        mask[row, size:] = 0
        ids[row, size:] = 0 if padding is None else padding
        if end is not None and 0 <= end < high and end != padding:
            ids[row, size - 1] = end
    return ids, mask
