"""Every family of encoders does what the table of docs/encoders.md says of it."""

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.families import CHECKS, FAMILIES, HEAD, KINDS, TAGS, Family, Kind, Trial
from xlt_ray.models.heads import masked_lm_head
from xlt_ray.models.load import load_classifier
from xlt_ray.models.span_tagger import load_span_tagger

PAGE = Path(__file__).parents[2] / "docs" / "encoders.md"
DIFFERENT: dict[str, Kind] = {
    "BERT with XLM-R's tokenizer": "pair", "DistilBERT": "text", "DeBERTa-v2, v3": "token",
    "ELECTRA": "token", "X-MOD": "token", "ModernBERT, mean": "pair", "EuroBERT": "pair",
    "mT5": "text", "Qwen3": "token", "Gemma 3, both sides": "text", "NomicBERT": "pair",
}  # fmt: skip
"""Families that have something of their own, and where; all others take minutes together."""


def table() -> dict[str, list[str]]:
    """The cells of the page by family."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if "|" in line]
    return {row[0]: row[1:] for row in rows if len(row) == 1 + len(KINDS)}


def trials() -> list[Any]:
    found = []
    for family in FAMILIES:
        for kind in KINDS:
            marks = [] if DIFFERENT.get(family.name) == kind else [pytest.mark.long]
            found.append(pytest.param(family, kind, marks=marks, id=f"{family.name}, {kind}"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("family", "kind"), trials())
def test_a_family_does_what_the_table_says(family: Family, kind: Kind, tmp_path: Path) -> None:
    """All but the graphs, which take their time; an error there is not of the message's kind."""
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        found = Trial(family, kind, tmp_path).run(onnx=False)
    finally:
        transformers.logging.set_verbosity(verbosity)
    said = table()[family.name][KINDS.index(kind)]
    if said.startswith("refused"):
        assert set(found) == set(CHECKS)
        assert "done" not in found.values()
        number = re.findall(r"\d+", said)[0]
        assert f"{number}. {found['train']}" in PAGE.read_text().replace("\n   ", " ")
    else:
        assert said == "all" or said.startswith("all but onnx")
        assert found == dict.fromkeys(CHECKS[:-1], "done")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("kind", ["token", "pair"])
def test_the_graph_of_a_family(kind: Kind, tmp_path: Path) -> None:
    (family,) = (family for family in FAMILIES if family.name == "Qwen3")
    found = Trial(family, kind, tmp_path).run(onnx=True)
    said = table()[family.name][KINDS.index(kind)]
    assert (found["onnx"] == "done") == (said == "all")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*DIFFERENT, "RemBERT", "T5"}))
def test_every_dropout_has_the_rate_that_is_asked_for(name: str, tmp_path: Path) -> None:
    """Those of modules, and those that attention is given as a number."""
    (family,) = (family for family in FAMILIES if family.name == name)
    model = load_classifier(family.write(tmp_path), ["no", "yes"], "sentence", dropout=0.37)
    parts = list(model.modules())
    rates = {part.p for part in parts if isinstance(part, torch.nn.Dropout)}
    others = [getattr(part, "attention_dropout", None) for part in parts]
    rates |= {rate for rate in others if isinstance(rate, float)}
    assert rates == {0.37}


def with_lm(family: Family, folder: Path) -> Path:
    """A tiny masked LM of a family."""
    family.write(folder)
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    torch.manual_seed(0)
    kind = transformers.AutoModelForMaskedLM
    with suppress(ValueError):  # there is none; the encoder alone is refused
        kind.from_config(config, dtype=torch.float32, trust_remote_code=False).save_pretrained(
            folder
        )
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["BERT", "DistilBERT", "ELECTRA", "ModernBERT, mmBERT", "EuroBERT", "mT5", "Qwen3"]
)
def test_hidden_words_are_guessed_as_by_the_stock_model(name: str, tmp_path: Path) -> None:
    """By MARAL's taggers, of families that have a masked LM; others are refused with a sentence."""
    (family,) = (family for family in FAMILIES if family.name == name)
    folder, head = with_lm(family, tmp_path), replace(HEAD, masked_lm=True)
    if name in ("mT5", "Qwen3"):
        with pytest.raises(ValueError, match=r"no masked LM of the family .*: method.w_mlm=0; tes"):
            load_span_tagger(folder, TAGS.names, head)
        return
    tagger = load_span_tagger(folder, TAGS.names, head).eval()
    ids = torch.arange(6, 14)[None]
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.inference_mode():
        kind = transformers.AutoModelForMaskedLM
        stock = kind.from_pretrained(folder, trust_remote_code=False).eval()
        wanted = stock(**given).logits
        states = tagger.encoder(**given).last_hidden_state
        torch.testing.assert_close(masked_lm_head(tagger.model)(states), wanted)


def test_there_are_enough_families() -> None:
    """At least fifteen for tokens and fourteen for pairs, and a row for each family."""
    rows = table()
    assert [name for name in rows if name != "Family"] == [family.name for family in FAMILIES]
    for kind, least in (("token", 15), ("pair", 14)):
        column = [cells[KINDS.index(kind)] for cells in rows.values()]
        assert sum(cell.startswith("all") for cell in column) >= least
