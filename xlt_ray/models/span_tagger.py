"""Span tagger: every span of up to so many words is an item, with a vector and a score per class.

A span is represented by its first and last sub-word, its width in sub-words, its length in words
and how its words are written (M1 of docs/maral.md). Its vector is scored by a linear layer, or by
how well it fits the von Mises-Fisher distribution of each class, whose mean is a statistic of the
spans that were seen and no parameter. The encoder may keep its masked-LM head, to guess hidden
tokens.

A saved span tagger is an ordinary Hugging Face folder of the encoder with ``spans.json`` and
``spans.safetensors`` beside it; `SpanTagger.from_pretrained` reads both.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from xlt_ray.data.batches.batch import Batch, Spans
from xlt_ray.data.batches.examples import SpansOfSentences
from xlt_ray.data.batches.layout import LONGEST, SpanItems, layout_of, longest_input
from xlt_ray.data.batches.tokenise import SHAPES, load_tokenizer, tokenise
from xlt_ray.data.schema import TEXT_SCHEMA
from xlt_ray.data.stock import stock
from xlt_ray.labels import LabelSet, Span, bio_spans_of_ids
from xlt_ray.models.classifier import Classifier, Output, full_precision, new_head
from xlt_ray.models.families import bare_encoder, check_masked_lm, config_for
from xlt_ray.models.files import SPAN_SETTINGS
from xlt_ray.models.heads import masked_lm_head
from xlt_ray.models.lora import weights_in
from xlt_ray.ops import vmf
from xlt_ray.ops.spans import span_classes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS_FILE = "spans.safetensors"

WIDTH_BUCKETS = 10
"""Widths 0 to 4 have a bucket each, wider spans one for each power of two, the last all others."""
_WIDTH, _LENGTH, _SHAPE = 50, 100, 100


@dataclass(frozen=True)
class SpanHead:
    """How spans are represented and scored.

    Attributes:
        max_len: Words of the longest span.
        q: Size of a span's vector.
        scores: By a linear layer ("softmax"), or by fit to the classes' distributions ("vmf").
        means: Whether the classes' means are kept; "vmf" has need of them.
        temp: Temperature of the fit.
        kappa: Formula of the concentration, the paper's or that of its code.
        prior: Whether the log of each class's share of the spans behind the means is added to the
            fit at prediction.
        masked_lm: Whether the masked-LM head of the encoder is kept and trained.
        morphology: Whether a span is described by how its words are written, too.
    """

    max_len: int = 4
    q: int = 64
    scores: Literal["softmax", "vmf"] = "softmax"
    means: bool = False
    temp: float = 0.07
    kappa: vmf.Kappa = "paper"
    prior: bool = False
    masked_lm: bool = False
    morphology: bool = True

    def __post_init__(self) -> None:
        assert self.means or self.scores == "softmax"
        assert self.scores == "vmf" or not self.prior


def unit(vectors_NQ: Tensor) -> Tensor:
    """[N, q] the vectors at unit norm; one of zeros stays as it is."""
    return vectors_NQ / (vectors_NQ.norm(dim=1, keepdim=True) + 1e-12)


def buckets(widths_N: Tensor) -> Tensor:
    """[N] bucket of each width."""
    doubled = torch.floor(torch.log2(widths_N.clamp(min=1).double())).long() + 3
    return torch.where(widths_N <= 4, widths_N, doubled).clamp(max=WIDTH_BUCKETS - 1)


def shape_counts(spans: Spans, max_len: int) -> Tensor:
    """[N, S] how many words of each span are written in which way."""
    start_N, end_N = spans.words.unbind(1)
    shapes_WS = nn.functional.one_hot(spans.shapes, len(SHAPES))
    counts_NS = torch.zeros(len(start_N), len(SHAPES), dtype=torch.long, device=start_N.device)
    for offset in range(max_len):
        word_N = (start_N + offset).minimum(end_N)
        inside_N = start_N + offset <= end_N
        counts_NS += shapes_WS.index_select(0, word_N) * inside_N[:, None]
    return counts_NS


class SpanRepresentation(nn.Module):
    """Vector of a span before it is normalised (M1)."""

    def __init__(self, hidden: int, head: SpanHead, dropout: float):
        super().__init__()
        shape = _SHAPE if head.morphology else 0
        inner = 2 * hidden + _WIDTH + _LENGTH + shape
        self.width = nn.Embedding(WIDTH_BUCKETS, _WIDTH)
        self.length = nn.Embedding(head.max_len, _LENGTH)
        self.shape = nn.Embedding(len(SHAPES), shape) if shape else None
        self.dropout = nn.Dropout(dropout)
        self.inner = nn.Linear(inner, inner)
        self.outer = nn.Linear(inner, head.q)

    def forward(self, firsts_WH: Tensor, lasts_WH: Tensor, batch: Batch) -> Tensor:
        """[N, q] vectors of the spans of a batch.

        In training every span has dropout of its own on all that describes it. Without dropout the
        first layer is the sum of a product of each part, and that of a word is computed once for
        all spans that begin or end with it. Both ways differ by rounding alone.

        Args:
            firsts_WH: State of the first sub-word of each word.
            lasts_WH: State of its last one.
            batch: The batch.
        """
        if self.training:
            x = self.inner(self.dropout(self.parts(firsts_WH, lasts_WH, batch)))
        else:
            x = self._sum_of_products(firsts_WH, lasts_WH, batch)
        return self.outer(self.dropout(nn.functional.gelu(x)))

    def parts(self, firsts_WH: Tensor, lasts_WH: Tensor, batch: Batch) -> Tensor:
        """[N, inner] what describes each span: its ends, width, length and spelling."""
        assert batch.spans is not None
        start_N, end_N = batch.spans.words.unbind(1)
        parts = [
            firsts_WH.index_select(0, start_N),
            lasts_WH.index_select(0, end_N),
            self.width(buckets(batch.spans.widths)),
            self.length(end_N - start_N).relu(),
        ]
        if self.shape is not None:
            written_NS = shape_counts(batch.spans, self.length.num_embeddings)
            parts.append(written_NS.to(self.shape.weight.dtype) @ self.shape.weight)  # over words
        return torch.cat([part.to(firsts_WH.dtype) for part in parts], dim=1)

    def _sum_of_products(self, firsts_WH: Tensor, lasts_WH: Tensor, batch: Batch) -> Tensor:
        """[N, inner] the first layer of `parts`, of which a row of a table stands for the narrow
        ones."""
        assert batch.spans is not None
        start_N, end_N = batch.spans.words.unbind(1)
        hidden = firsts_WH.shape[1]
        sizes = [hidden, hidden, _WIDTH, _LENGTH, self.inner.in_features]
        sizes[-1] -= sum(sizes[:-1])
        first, last, width, length, shape = self.inner.weight.split(sizes, dim=1)
        linear, one_hot = nn.functional.linear, nn.functional.one_hot
        rows = [linear(self.width.weight, width), linear(self.length.weight.relu(), length)]
        kinds = [
            one_hot(buckets(batch.spans.widths), WIDTH_BUCKETS),
            one_hot(end_N - start_N, self.length.num_embeddings),
        ]
        if self.shape is not None:
            rows.append(linear(self.shape.weight, shape))
            kinds.append(shape_counts(batch.spans, self.length.num_embeddings))
        table, kinds_NT = torch.cat(rows), torch.cat(kinds, dim=1)
        x = linear(firsts_WH, first, self.inner.bias).index_select(0, start_N)
        x += linear(lasts_WH, last).index_select(0, end_N)  # in place: memory is slow
        return x.addmm_(kinds_NT.to(x.dtype), table.to(x.dtype))


class ClassMeans(nn.Module):
    """Running means of the unit vectors of each class, and what follows from them (M3 to M5).

    Attributes:
        mean: [K, q] float64.
        count: [K] float64, vectors counted; the mean of a class of none is a random direction.
    """

    mean: Tensor
    count: Tensor

    def __init__(self, num_classes: int, head: SpanHead, seed: int):
        super().__init__()
        self.temp = head.temp
        self.kappa: vmf.Kappa = head.kappa
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("mean", vmf.first_means(num_classes, head.q, generator))
        self.register_buffer("count", torch.zeros(num_classes, dtype=torch.float64))

    def scores(self, z_NQ: Tensor) -> Tensor:
        """[N, K] float64 scores rho of unit vectors."""
        found = vmf.concentration(self.mean, kind=self.kappa)
        return vmf.scores(z_NQ, found.mu_KQ, found.kappa_K, self.temp)

    def put(self, mean_KQ: Tensor, count_K: Tensor) -> None:
        """Replace the statistics."""
        self.mean.copy_(mean_KQ)
        self.count.copy_(count_K)


class SpanTagger(Classifier):
    """Encoder and span head.

    Attributes:
        settings: The head's settings.
        labels: BIO labels of the words.
        represent: Makes the vectors.
        linear: Scores of the vectors, if a linear layer gives them.
        classes: Means of the classes, if they are kept.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        settings: SpanHead,
        labels: LabelSet,
        *,
        dropout: float,
        seed: int = 0,
    ):
        super().__init__(model)
        self.settings, self.labels = settings, labels
        self.num_classes = len(span_classes(labels))
        self.represent = SpanRepresentation(model.config.hidden_size, settings, dropout)
        self.linear: nn.Linear | None = None
        self.classes: ClassMeans | None = None
        self.tokenizer: Any = None
        if settings.scores == "softmax":
            self.linear = nn.Linear(settings.q, self.num_classes)
        if settings.means:
            self.classes = ClassMeans(self.num_classes, settings, seed)

    @property
    def width(self) -> int:
        """The size q of a vector."""
        return self.settings.q

    @property
    def num_outputs(self) -> int:
        """Classes of spans: O and the types."""
        return self.num_classes

    def forward(self, batch: Batch) -> Output:
        """Scores and vectors, not yet normalised, of the batch's spans."""
        spans = batch.spans
        assert spans is not None, "a span tagger reads batches of spans"
        hidden = [] if batch.hidden is None else [batch.hidden.positions]
        firsts, lasts, *masked = self.states(batch, batch.items, spans.lasts, *hidden)
        features = self.represent(firsts, lasts, batch)
        guessed = masked_lm_head(self.model)(masked[0]).float() if masked else None
        with full_precision(features):
            features = features.float()
            return Output(self.scores(features), features, guessed=guessed)

    def scores(self, features: Tensor) -> Tensor:
        """[N, K] float32 scores of vectors: logits, or rho, at prediction perhaps with a prior."""
        if self.linear is not None:
            return self.linear(self.represent.dropout(features))
        assert self.classes is not None
        rho_NK = self.classes.scores(unit(features))
        if self.settings.prior and not self.training:
            rho_NK = rho_NK + vmf.log_prior(vmf.shares(self.classes.count))
        return rho_NK.float()

    def save(self, folder: Path) -> None:
        """Write the encoder, the settings and the head."""
        super().save(folder)
        settings = settings_of(self.labels.names, self.settings)
        (folder / SPAN_SETTINGS).write_text(json.dumps(settings, indent=1) + "\n")
        save_file(self._own_weights(), folder / WEIGHTS_FILE)

    def _own_weights(self) -> dict[str, Tensor]:
        own = self.state_dict().items()
        return {k: v.contiguous() for k, v in own if not k.startswith(("model.", "own."))}

    @staticmethod
    def from_pretrained(folder: str | Path) -> "SpanTagger":
        """A span tagger that was saved, in evaluation mode.

        Raises:
            ValueError: the folder holds none.
        """
        path = Path(folder).expanduser()
        settings = saved_settings(path)
        if settings is None:
            raise ValueError(f"{folder}: no span tagger, it has no {SPAN_SETTINGS}")
        labels = settings.pop("labels")
        tagger = load_span_tagger(path, labels, SpanHead(**settings)).eval()
        tagger.tokenizer = load_tokenizer(str(path))
        return tagger

    @torch.inference_mode()
    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[Span]]:
        """Entities of some sentences, given as words, by a tagger made by `from_pretrained`."""
        assert self.tokenizer is not None
        rows = [{"id": str(i), "language": "", "tokens": x} for i, x in enumerate(sentences)]
        table = pa.Table.from_pylist(rows, schema=TEXT_SCHEMA["token"])
        items = SpanItems(self.settings.max_len, self.labels)
        config = self.model.config.to_dict()
        longest = longest_input(config) or LONGEST
        layout = layout_of(self.tokenizer, longest, spans=items, config=config)
        examples = SpansOfSentences(tokenise(table, self.tokenizer, task="token"), layout)
        tags = examples.labels_of(self(examples.collate(range(len(sentences)))).logits)
        cut = np.split(tags, examples.length_offsets[1:-1])
        return [bio_spans_of_ids(part.tolist(), self.labels) for part in cut[: len(sentences)]]


def settings_of(labels: Sequence[str], head: SpanHead) -> dict[str, Any]:
    """Content of the settings file."""
    return {"labels": list(labels), **asdict(head)}


def saved_settings(folder: Path) -> dict[str, Any] | None:
    """Content of a folder's settings file, with the default of what an older one lacks; None if it
    has none."""
    path = folder / SPAN_SETTINGS
    if not path.exists():
        return None
    known = {field.name: field.default for field in fields(SpanHead)}
    return {**known, **json.loads(path.read_text())}


def check_head(folder: Path, labels: Sequence[str], head: SpanHead | None) -> None:
    """See whether a trained model has a head over spans with these settings, or (None) over words.

    Raises:
        ValueError: it has another.
    """
    wanted = None if head is None else settings_of(labels, head)
    if (found := saved_settings(folder)) != wanted:
        raise ValueError(f"{folder}: a model with span head {wanted} is needed, it has {found}")


def load_span_tagger(
    folder: str | Path,
    labels: Sequence[str],
    head: SpanHead,
    *,
    dropout: float = 0.1,
    seed: int = 0,
    gradient_checkpointing: bool = False,
) -> SpanTagger:
    """Load an encoder, or a span tagger saved with the same settings, in float32.

    A head that the folder lacks, or that has other settings or labels, starts at random.

    Args:
        folder: Local folder in the Hugging Face layout.
        labels: BIO labels of the words.
        head: Settings of the span head.
        dropout: Dropout of the encoder and the head while training.
        seed: Seed of a new head.
        gradient_checkpointing: Recompute activations in the backward pass.

    Raises:
        ValueError: the encoder's family has no masked LM, and the head wants one.
    """
    path = Path(folder)
    config = config_for(path, labels, dropout)
    common: dict[str, Any] = {"dtype": torch.float32, "local_files_only": True, "config": config}
    with new_head(seed):
        if head.masked_lm:
            check_masked_lm(config.to_dict(), f"backbone {folder}")
            kind = stock("AutoModelForMaskedLM")
        else:
            kind, more = bare_encoder(config)
            common |= more
        model = kind.from_pretrained(weights_in(path), **common, trust_remote_code=False)
        tagger = SpanTagger(model, head, LabelSet(tuple(labels)), dropout=dropout, seed=seed)
    if gradient_checkpointing:
        model.activation_checkpointing_enable()
    if saved_settings(path) == settings_of(labels, head):
        found = tagger.load_state_dict(load_file(path / WEIGHTS_FILE), strict=False)
        assert not found.unexpected_keys
    return tagger
