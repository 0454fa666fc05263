"""The span tagger: where spans are read, how they are described, what is saved."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM

from tests.encoders import tokenised, write_encoder
from xlt_ray.data.batches.batch import Batch, Hidden, Spans
from xlt_ray.data.batches.examples import Examples, examples_of
from xlt_ray.data.batches.layout import SpanItems, layout_of
from xlt_ray.data.batches.tokenise import SHAPES, load_tokenizer
from xlt_ray.labels import LabelSet
from xlt_ray.models.load import load_classifier
from xlt_ray.models.span_tagger import (
    WIDTH_BUCKETS,
    SpanHead,
    SpanRepresentation,
    SpanTagger,
    buckets,
    check_head,
    load_span_tagger,
    shape_counts,
    unit,
)
from xlt_ray.ops import vmf

LABELS = ("O", "B-X", "I-X", "B-Y", "I-Y")
HEAD = SpanHead(max_len=3, q=8)
FIT = SpanHead(max_len=3, q=8, scores="vmf", means=True)
PRIOR = SpanHead(max_len=3, q=8, scores="vmf", means=True, prior=True)
PLAIN = SpanHead(max_len=3, q=8, morphology=False)
SENTENCES = [[[10, 11], [12]], [[20], [21, 22, 23], [24]], [[30 + i, 40] for i in range(12)]]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def examples(encoder: Path) -> Examples:
    items = SpanItems(HEAD.max_len, LabelSet(LABELS))
    layout = layout_of(load_tokenizer(str(encoder)), 16, spans=items)
    return examples_of(tokenised(SENTENCES), layout)


def test_a_span_is_read_at_its_ends_also_over_windows(encoder: Path, examples: Examples) -> None:
    """The third sentence has windows; its states are compared word by word, span by span."""
    tagger = load_span_tagger(encoder, LABELS, HEAD).eval()
    batch = examples.collate([2, 0])
    assert batch.spans is not None
    assert len(batch.input_ids) > 2
    (states,) = tagger.states(batch, torch.arange(batch.input_ids.numel()))
    width, expected = batch.input_ids.shape[1], []
    for start, end in batch.spans.words.tolist():
        first, last = int(batch.items[start]), int(batch.spans.lasts[end])
        assert first // width <= last // width, "in its window, or in a later one"
        expected.append((states[first], states[last]))
    firsts, lasts = states[batch.items], states[batch.spans.lasts]
    start_N, end_N = batch.spans.words.unbind(1)
    for number, (first, last) in enumerate(expected):
        torch.testing.assert_close(firsts[start_N[number]], first)
        torch.testing.assert_close(lasts[end_N[number]], last)
    output = tagger(batch)
    assert output.logits.shape == (len(expected), 3)
    assert output.features.shape == (len(expected), HEAD.q)
    tagger.pass_tokens = width  # a row at a time
    with torch.no_grad():
        cut = tagger(batch)
    torch.testing.assert_close(cut.logits, output.logits, rtol=1e-4, atol=1e-5)


def test_the_order_of_rows_does_not_matter(encoder: Path, examples: Examples) -> None:
    tagger = load_span_tagger(encoder, LABELS, HEAD).eval()
    with torch.inference_mode():
        one, other = tagger(examples.collate([0, 1])), tagger(examples.collate([1, 0]))
    torch.testing.assert_close(one.logits, other.logits.roll(-6, 0), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("width", "bucket"),
    [(0, 0), (1, 1), (4, 4), (5, 5), (7, 5), (8, 6), (15, 6), (16, 7), (64, 9), (900, 9)],
)
def test_widths_have_buckets(width: int, bucket: int) -> None:
    assert buckets(torch.tensor([width])).item() == bucket < WIDTH_BUCKETS


def test_words_of_a_span_are_counted_by_how_they_are_written() -> None:
    """upper lower title: the span of the last two has one lower and one title word."""
    shapes = torch.tensor([SHAPES.index(x) for x in ("upper", "lower", "title")])
    words = torch.tensor([[0, 0], [1, 2], [0, 2]])
    found = shape_counts(Spans(words, words[:, 0], words[:, 0], shapes), 3)
    assert found[1, [SHAPES.index("lower"), SHAPES.index("title")]].tolist() == [1, 1]
    assert found.sum(dim=1).tolist() == [1, 2, 3]


def test_scores_of_fit_are_rho_of_unit_vectors(encoder: Path, examples: Examples) -> None:
    tagger = load_span_tagger(encoder, LABELS, FIT, seed=3).eval()
    output, classes = tagger(examples.collate([1])), tagger.classes
    assert classes is not None
    assert classes.mean.norm(dim=1).tolist() == pytest.approx([0.9] * 3)
    z = unit(output.features)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(len(z)))
    fit = vmf.concentration(classes.mean)
    wanted = vmf.scores(z, fit.mu_KQ, fit.kappa_K, FIT.temp)
    torch.testing.assert_close(output.logits, wanted.float())
    assert tagger.linear is None
    assert unit(torch.zeros(1, 4)).tolist() == [[0.0] * 4]


def test_a_prior_is_added_at_prediction_alone(encoder: Path, examples: Examples) -> None:
    """Its classes are shares of the spans behind the means; one of none is finite."""
    plain, asked = (load_span_tagger(encoder, LABELS, head, seed=3).eval() for head in (FIT, PRIOR))
    for tagger in (plain, asked):
        assert tagger.classes is not None
        tagger.classes.put(tagger.classes.mean.clone(), torch.tensor([6.0, 2.0, 0.0]))
    features = plain(examples.collate([1])).features
    added = asked.scores(features) - plain.scores(features)
    wanted = torch.tensor([0.75, 0.25, 1e-12]).log().expand(len(features), 3)
    torch.testing.assert_close(added, wanted, rtol=1e-4, atol=1e-4)
    assert torch.equal(asked.train().scores(features), plain.train().scores(features))


@pytest.mark.parametrize("head", [HEAD, FIT, PRIOR, SpanHead(3, 8, masked_lm=True), PLAIN])
def test_saving_and_loading_changes_nothing(
    encoder: Path, examples: Examples, tmp_path: Path, head: SpanHead
) -> None:
    tagger, batch = load_span_tagger(encoder, LABELS, head, seed=5).eval(), examples.collate([0, 2])
    if tagger.classes is not None:
        mean, count = torch.rand(3, 8).double() / 4, torch.arange(3.0).double()
        tagger.classes.put(mean, count)
    tagger.save(tmp_path)
    load_tokenizer(str(encoder)).save_pretrained(tmp_path)
    again = SpanTagger.from_pretrained(tmp_path)
    assert not again.training
    with torch.inference_mode():
        assert torch.equal(again(batch).logits, tagger(batch).logits)
    for name, value in tagger.weights().items():
        assert torch.equal(again.weights()[name], value), name
    generic = load_classifier(tmp_path, LABELS, "token", spans=head).eval()
    assert torch.equal(generic(batch).logits, tagger(batch).logits)


def test_entities_of_words(encoder: Path, tmp_path: Path) -> None:
    """A tagger that calls every span of two words X, and all others nothing."""
    tagger = load_span_tagger(encoder, LABELS, HEAD).eval()
    assert tagger.linear is not None
    with torch.no_grad():
        for part in tagger.represent.parameters():
            part.zero_()
        tagger.represent.length.weight[1] = 1.0
        tagger.represent.inner.weight.fill_(1.0)
        tagger.represent.outer.weight.fill_(1.0)
        # The states of the encoder are not looked at.
        tagger.represent.inner.weight[:, : 2 * 16] = 0.0
        tagger.linear.weight.copy_(torch.tensor([[0.0], [1.0], [0.0]]).expand(3, 8))
        tagger.linear.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    tagger.save(tmp_path)
    load_tokenizer(str(encoder)).save_pretrained(tmp_path)
    found = SpanTagger.from_pretrained(tmp_path).tag([["a", "b", "c"], ["a"], ["a", "b"]])
    shown = [[(x.type, x.start, x.end) for x in entities] for entities in found]
    assert shown == [[("X", 0, 2)], [], [("X", 0, 2)]]
    assert SpanTagger.from_pretrained(tmp_path).tag([]) == []


def test_other_settings_or_labels_begin_anew(encoder: Path, tmp_path: Path) -> None:
    load_span_tagger(encoder, LABELS, HEAD, seed=5).save(tmp_path)
    same = load_span_tagger(tmp_path, LABELS, HEAD, seed=6)
    other = load_span_tagger(tmp_path, LABELS, SpanHead(max_len=2, q=8), seed=6)
    relabelled = load_span_tagger(tmp_path, (*LABELS, "B-Z", "I-Z"), HEAD, seed=6)
    fresh = load_span_tagger(encoder, LABELS, HEAD, seed=6)
    weights = [x.represent.outer.weight for x in (same, other, relabelled, fresh)]
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[2], weights[3]), "drawn from the seed"
    check_head(tmp_path, LABELS, HEAD)
    for head in (None, SpanHead(max_len=2, q=8), FIT):
        with pytest.raises(ValueError, match=r"a model with span head .* is needed, it has"):
            check_head(tmp_path, LABELS, head)
    check_head(encoder, LABELS, None)
    (tmp_path / "spans.json").unlink()
    with pytest.raises(ValueError, match=r"no span tagger, it has no spans\.json"):
        SpanTagger.from_pretrained(tmp_path)


def test_hidden_tokens_are_guessed_as_the_stock_model_does(
    encoder: Path, examples: Examples
) -> None:
    tagger = load_span_tagger(encoder, LABELS, SpanHead(3, 8, masked_lm=True)).eval()
    stock = AutoModelForMaskedLM.from_pretrained(encoder, trust_remote_code=False).eval()
    batch = examples.collate([0, 1])
    places = torch.tensor([1, 3])
    batch.hidden = Hidden(places, batch.input_ids.flatten()[places])
    with torch.inference_mode():
        guessed = tagger(batch).guessed
        wanted = stock(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    assert guessed is not None
    torch.testing.assert_close(guessed, wanted.flatten(0, 1)[places], rtol=0, atol=1e-5)


def test_shared_parameters_are_named_once(encoder: Path) -> None:
    """The output layer of the masked-LM head is the table of embeddings."""
    tagger = load_span_tagger(encoder, LABELS, SpanHead(3, 8, masked_lm=True))
    weights = tagger.weights()
    pointers = [value.data_ptr() for value in weights.values()]
    assert len(set(pointers)) == len(pointers)
    assert len(tagger.state_dict()) > len(weights)
    halved = {name: value / 2 for name, value in weights.items()}
    tagger.take_weights(halved)
    for name, value in tagger.weights().items():
        assert torch.equal(value, halved[name]), name
    with pytest.raises(AssertionError):
        tagger.take_weights(dict(list(halved.items())[1:]))


def test_what_is_saved_is_an_encoder_for_everybody(encoder: Path, tmp_path: Path) -> None:
    load_span_tagger(encoder, LABELS, SpanHead(3, 8, masked_lm=True)).save(tmp_path)
    settings = json.loads((tmp_path / "spans.json").read_text())
    assert settings["labels"] == list(LABELS)
    assert settings["max_len"] == 3
    AutoModelForMaskedLM.from_pretrained(tmp_path, trust_remote_code=False)
    assert load_classifier(tmp_path, LABELS, "token").num_outputs == len(LABELS)


def plain_way(layer: SpanRepresentation, firsts: Tensor, lasts: Tensor, batch: Batch) -> Tensor:
    """(M1) without dropout, a vector of all parts for each span."""
    x = layer.parts(firsts, lasts, batch)
    return layer.outer(torch.nn.functional.gelu(layer.inner(x)))


@pytest.mark.parametrize("head", [HEAD, PLAIN])
@pytest.mark.parametrize("rows", [[], [0], [3], [0, 1, 2, 3]])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_products_of_words_are_those_of_spans(
    encoder: Path, rows: list[int], dtype: torch.dtype, tolerance: float, head: SpanHead
) -> None:
    """No sentence, some, and one of a single word; weights large enough to see a wrong part."""
    items = SpanItems(HEAD.max_len, LabelSet(LABELS))
    layout = layout_of(load_tokenizer(str(encoder)), 16, spans=items)
    batch = examples_of(tokenised([*SENTENCES, [[10]]]), layout).collate(np.array(rows, np.int64))
    torch.manual_seed(2)
    layer = SpanRepresentation(16, head, 0.5).to(dtype)
    firsts, lasts = torch.randn(2, len(batch.items), 16, dtype=dtype)
    assert batch.spans is not None
    batch.spans.widths = torch.arange(len(batch.spans.words)) % 9
    batch.spans.shapes = torch.arange(len(batch.items)) % len(SHAPES)
    with torch.no_grad():
        wanted = plain_way(layer, firsts, lasts, batch)
        found = layer.eval()(firsts, lasts, batch)
    assert found.shape == (len(batch.spans.words), HEAD.q)
    torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance)
    layer.train().dropout.p = 0.0
    assert torch.equal(layer(firsts, lasts, batch), wanted), "training has the plain way"


@pytest.mark.parametrize("head", [HEAD, PLAIN])
def test_how_words_are_written_counts_if_it_is_asked_for(
    encoder: Path, examples: Examples, head: SpanHead
) -> None:
    tagger, batch = load_span_tagger(encoder, LABELS, head).eval(), examples.collate([0, 1])
    assert batch.spans is not None
    found = []
    for shape in ("title", "lower"):
        batch.spans.shapes = torch.full_like(batch.spans.shapes, SHAPES.index(shape))
        found.append(tagger(batch).logits)
    assert torch.equal(*found) == (not head.morphology)


def test_a_span_tagger_of_before_there_was_a_choice_is_read(encoder: Path, tmp_path: Path) -> None:
    load_span_tagger(encoder, LABELS, HEAD).save(tmp_path)
    settings = json.loads((tmp_path / "spans.json").read_text())
    del settings["morphology"]
    (tmp_path / "spans.json").write_text(json.dumps(settings))
    check_head(tmp_path, LABELS, HEAD)
    with pytest.raises(ValueError, match="morphology"):
        check_head(tmp_path, LABELS, PLAIN)


def test_products_of_words_in_bfloat16_are_as_near_as_those_of_spans(examples: Examples) -> None:
    """Both round, to 3 digits; what they round is compared in float64."""
    batch = examples.collate([0, 1, 2])
    torch.manual_seed(2)
    layer = SpanRepresentation(64, HEAD, 0.0).eval()
    firsts, lasts = torch.randn(2, len(batch.items), 64)
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            rough = layer(firsts, lasts, batch), plain_way(layer, firsts, lasts, batch)
        exact = plain_way(layer.double(), firsts.double(), lasts.double(), batch)
    factored, plain = ((x.double() - exact).square().mean().sqrt().item() for x in rough)
    assert factored < 1.5 * plain


def test_no_spans(encoder: Path, examples: Examples) -> None:
    tagger = load_span_tagger(encoder, LABELS, HEAD)
    batch: Batch = examples.collate(np.zeros(0, np.int64))
    logits = tagger(batch).logits
    assert logits.shape == (0, 3)
    logits.sum().backward()
