"""A tiny random model of every family of encoders, taken through all that is done with a model.

``python -m tests.families`` prints the table of docs/encoders.md.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pyarrow as pa
import torch
import transformers

from tests import subwords
from tests.encoders import commit
from xlt_ray.config.schema import LoraConfig, TrainConfig
from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import examples_of
from xlt_ray.data.batches.layout import SpanItems, layout_in
from xlt_ray.data.batches.tokenise import load_tokenizer, tokenise
from xlt_ray.data.benchmarks.toy import LANGUAGES, unlabelled_text
from xlt_ray.data.schema import GOLD_SCHEMA, TEXT_SCHEMA, Task
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.engine.train.loop import Worker
from xlt_ray.engine.train.processes import run_worker, worker_of
from xlt_ray.engine.train.task import TrainTask
from xlt_ray.labels import LabelSet
from xlt_ray.methods.maral.teacher import SpanCrossEntropy
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.models.families import bare_encoder
from xlt_ray.models.load import load_classifier
from xlt_ray.models.onnx import OnnxError, write_onnx
from xlt_ray.models.span_tagger import SpanHead
from xlt_ray.recipe.corpus import Corpus, Mix
from xlt_ray.recipe.schedule import OptimiserStep, Schedule
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact, Store

Kind = Literal["token", "text", "pair", "span"]
KINDS: tuple[Kind, ...] = ("token", "text", "pair", "span")
CHECKS = ("train", "resume", "freeze", "save", "stock", "lora", "onnx")
TAGS, CLASSES = LabelSet(("O", "B-X", "I-X")), LabelSet(("no", "yes"))
HEAD = SpanHead(max_len=2, q=4)

SMALL: Mapping[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 66, "initializer_range": 0.3,
}  # fmt: skip
DECODER: Mapping[str, Any] = {**SMALL, "num_key_value_heads": 1, "head_dim": 8}
T5: Mapping[str, Any] = {
    "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2,
    "decoder_start_token_id": 1, "initializer_factor": 0.5,
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """How to make a tiny model of a family.

    Attributes:
        name: What the table calls it.
        kind: Class of transformers that is saved as its encoder.
        config: What its configuration is given.
        tokenizer: Makes its tokenizer.
        language: Language of its rows; a family with adapters has some of them.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    tokenizer: Callable[[], Any]
    language: str = "sw"

    def write(self, folder: Path) -> Path:
        """Write model and tokenizer in the Hugging Face layout, in half precision."""
        tokenizer = self.tokenizer()
        tokenizer.save_pretrained(folder)
        kind = getattr(transformers, self.kind)
        known = {
            name: getattr(tokenizer, name)
            for name in ("pad_token_id", "bos_token_id", "eos_token_id")
            if getattr(tokenizer, name) is not None
        }
        words = {} if self.name == "CANINE" else {"vocab_size": len(tokenizer)}
        config = kind.config_class(**{**words, **known, **self.config})
        torch.manual_seed(0)
        kind(config).to(torch.float16).save_pretrained(folder)
        return folder


def _family(name: str, kind: str, tokenizer: Any, **config: Any) -> Family:
    return Family(name, kind, {**SMALL, **config}, tokenizer)


_XMOD = {"languages": ("en_XX", "sw_KE"), "default_language": "en_XX"}
FAMILIES: tuple[Family, ...] = (
    _family("BERT", "BertModel", subwords.wordpiece),
    _family("BERT with XLM-R's tokenizer", "BertModel", subwords.metaspace),
    _family("XLM-R", "XLMRobertaModel", subwords.metaspace, type_vocab_size=1),
    _family("XLM-R-XL", "XLMRobertaXLModel", subwords.metaspace, type_vocab_size=1),
    _family("RoBERTa, bytes", "RobertaModel", subwords.roberta, type_vocab_size=1),
    _family("CamemBERT", "CamembertModel", subwords.metaspace, type_vocab_size=1),
    Family(
        "DistilBERT",
        "DistilBertModel",
        {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 64,
         "initializer_range": 0.3},
        subwords.wordpiece,
    ),
    _family(
        "DeBERTa-v2, v3", "DebertaV2Model", subwords.deberta, type_vocab_size=0,
        relative_attention=True, pos_att_type=["p2c", "c2p"], position_biased_input=False,
        norm_rel_ebd="layer_norm", share_att_key=True, position_buckets=8, conv_kernel_size=3,
    ),
    _family("ELECTRA", "ElectraModel", subwords.wordpiece, embedding_size=8),
    _family("RemBERT", "RemBertModel", subwords.deberta, input_embedding_size=8,
            output_embedding_size=8),
    replace(
        _family("X-MOD", "XmodModel", subwords.metaspace, type_vocab_size=1, **_XMOD),
        language="sw",
    ),
    _family("CANINE", "CanineModel", subwords.characters, num_hash_buckets=64,
            max_position_embeddings=128, downsampling_rate=4, local_transformer_stride=16),
    _family("ModernBERT, mmBERT", "ModernBertModel", lambda: subwords.gemma(ends=True),
            cls_token_id=2, sep_token_id=1, layer_types=["full_attention", "sliding_attention"]),
    _family("ModernBERT, mean", "ModernBertModel", subwords.wordpiece, cls_token_id=2,
            sep_token_id=3, bos_token_id=2, eos_token_id=3, classifier_pooling="mean",
            layer_types=["full_attention", "sliding_attention"]),
    _family("EuroBERT", "EuroBertModel", subwords.eurobert, num_key_value_heads=1, head_dim=8),
    _family("EuroBERT, mean", "EuroBertModel", subwords.eurobert, num_key_value_heads=1,
            head_dim=8, classifier_pooling="mean"),
    Family("T5", "T5Model", T5, subwords.t5),
    Family("mT5", "MT5Model", T5, subwords.t5),
    Family("mT5, encoder alone", "MT5EncoderModel", T5, subwords.t5),
    _family("NomicBERT", "NomicBertModel", subwords.wordpiece, head_dim=8),
    _family("Jina v3", "JinaEmbeddingsV3Model", subwords.metaspace, type_vocab_size=1),
    Family("Qwen3", "Qwen3Model", DECODER, subwords.qwen),
    Family("Qwen3, both sides", "Qwen3Model", {**DECODER, "is_causal": False}, subwords.qwen),
    Family("Llama 3", "LlamaModel", DECODER, subwords.llama),
    Family("Gemma 2", "Gemma2Model", DECODER, subwords.gemma),
    Family("Gemma 3", "Gemma3TextModel", DECODER, subwords.gemma),
    Family(
        "Gemma 3, both sides", "Gemma3TextModel", {**DECODER, "use_bidirectional_attention": True},
        subwords.gemma,
    ),
)  # fmt: skip


class Stopped(Exception):
    """The process ends here."""


@dataclass
class Stops(CrossEntropy):
    """Cross-entropy of a process that is killed before its second step."""

    def before_step(self, step: OptimiserStep) -> None:
        if step.number == 1:
            raise Stopped


@dataclass
class StopsSpans(SpanCrossEntropy):
    """The same over spans."""

    def before_step(self, step: OptimiserStep) -> None:
        super().before_step(step)
        if step.number == 1:
            raise Stopped


def rows_of(kind: Kind, language: str) -> tuple[pa.Table, list[list[int]]]:
    """Twelve rows of made-up text, and labels of theirs."""
    task: Task = {"token": "token", "span": "token", "text": "sentence", "pair": "pair"}[kind]  # type: ignore[assignment]
    sentences = [list(words) for words in unlabelled_text(LANGUAGES[0], size=24)]
    rows: list[dict[str, Any]] = []
    labels = []
    for number in range(12):
        words = sentences[number][: 3 + number % 5]
        found = {"id": f"r{number:02d}", "language": language, "tokens": words}
        found |= {"text": " ".join(words), "text_pair": " ".join(sentences[number + 12][:4])}
        rows.append({name: found[name] for name in TEXT_SCHEMA[task].names})
        tags = [(n + number) % 2 for n in range(len(words))]
        labels.append(tags if task == "token" else [number % 2])
    return pa.Table.from_pylist(rows, schema=TEXT_SCHEMA[task]), labels


@dataclass
class Trial:
    """One family at one kind of task, in a folder.

    Attributes:
        family: The family.
        kind: The kind of task.
        folder: Where its store is.
    """

    family: Family
    kind: Kind
    folder: Path
    found: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Store(str(self.folder / "store"))
        self.task: Task = "token" if self.kind in ("token", "span") else "sentence"
        self.task = "pair" if self.kind == "pair" else self.task
        self.labels = TAGS if self.task == "token" else CLASSES
        self.head = HEAD if self.kind == "span" else None
        self.text, labels = rows_of(self.kind, self.family.language)
        written = self.family.write(self.folder / "encoder")
        self.tokenizer = load_tokenizer(str(written))
        attempt = self.store.attempt("backbone", "start")
        attempt.write_folder(written)
        self.start = self.store.commit(attempt, {"info": {}, "seconds": 0.0})
        self.tokens = tokenise(self.text, self.tokenizer, task=self.task)
        ids, names = self.text["id"], self.text["language"]
        gold = pa.table([ids, names, pa.array(labels)], names=GOLD_SCHEMA["token"].names)
        gold = gold.cast(GOLD_SCHEMA["token"])
        self.corpus = Corpus(commit(self.store, "tokens", "t", {"part-000000": self.tokens}))
        self.corpus = self.corpus.labelled(commit(self.store, "gold", "g", {"rows": gold}))

    def training(
        self, name: str, objective: Any, frozen: int | None = None, rank: int = 0
    ) -> TrainTask:
        """A short training into an attempt of that name."""
        return TrainTask(
            mix=Mix(self.corpus), dev=self.corpus, start=self.start, objective=objective,
            schedule=Schedule(0.01, 1, keep="last", frozen_layers=frozen),
            train=TrainConfig(
                batch_size=4, max_length=40, checkpoint_seconds=0.0, lora=LoraConfig(rank=rank)
            ),
            context=TaskContext(self.labels, (self.family.language,), task=self.task),
            metric="f1" if self.task == "token" else "accuracy",
            seed=1, arithmetic=Arithmetic(), batch_tokens=256,
            attempt=self.store.attempt("model", name),
        )  # fmt: skip

    def objective(self, *, stops: bool = False) -> Any:
        """What is trained with."""
        if self.head is None:
            return Stops() if stops else CrossEntropy()
        return (StopsSpans if stops else SpanCrossEntropy)(self.head, 0.0, 0.1, 1)

    def trained(self, name: str, frozen: int | None = None) -> tuple[Worker, Path]:
        """Train; returns the worker and the folder of its model."""
        task = self.training(name, self.objective(), frozen)
        worker = worker_of(task)
        worker.epoch()
        worker.finish()
        return worker, self.committed(task).local()

    def committed(self, task: TrainTask) -> Artifact:
        return self.store.commit(task.out, {"info": {}, "seconds": 0.0})

    def batch(self, folder: Path) -> Batch:
        """All rows."""
        items = None if self.head is None else SpanItems(self.head.max_len, self.labels)
        layout = layout_in(folder, 40, self.task, items)
        return examples_of(self.tokens, layout).collate(range(len(self.tokens)))

    def load(self, folder: Path, seed: int = 0) -> Any:
        """A trained model in evaluation mode."""
        names = self.labels.names
        return load_classifier(folder, names, self.task, seed=seed, spans=self.head).eval()

    # -- the checks ---------------------------------------------------------------------------

    def run(self, *, onnx: bool) -> dict[str, str]:
        """Go through all checks; returns "done" or why not, by check."""
        try:
            untrained = self.load(self.folder / "encoder")
        except ValueError as refused:
            return dict.fromkeys(CHECKS, str(refused).replace(str(self.folder / "encoder"), "X"))
        self.worker, self.model = self.trained("whole")
        before, after = untrained.weights(), self.worker.model.weights()
        history = self.worker.position.history
        assert all(value == value for value in (entry["loss"] for entry in history))
        moved = [name for name, value in after.items() if not torch.equal(value, before[name])]
        assert len(moved) > 0.6 * len(after), sorted(set(after) - set(moved))
        self.check_resume()
        self.check_freeze(untrained)
        self.check_save()
        self.check_stock()
        self.check_lora()
        self.found = dict.fromkeys(CHECKS[:-1], "done")
        if onnx:
            self.found["onnx"] = self.check_onnx()
        return self.found

    def check_resume(self) -> None:
        """A killed training ends with the same bytes."""
        task = self.training("killed", self.objective(stops=True))
        try:
            run_worker(task)
        except Stopped:
            pass
        else:
            raise AssertionError("was not stopped")
        again = replace(task, objective=self.objective())
        worker = worker_of(again)
        worker.resume()
        assert worker.position.total == 1
        worker.epoch()
        worker.finish()
        folder = self.committed(again).local()
        for path in self.model.glob("*.safetensors"):
            assert path.read_bytes() == (folder / path.name).read_bytes(), path.name

    def check_freeze(self, untrained: Any) -> None:
        """Embeddings and the lowest layer stay, and so does what comes out of that layer."""
        (worker, folder), before = self.trained("frozen", frozen=1), untrained.weights()
        kept = {id(p) for p in worker.model.parameters() if not p.requires_grad}
        assert kept
        names = {name for name, p in worker.model.named_parameters() if id(p) in kept}
        after = worker.model.weights()
        for name in names & set(after):
            assert torch.equal(after[name], before[name]), name
        moved = [n for n in after if n not in names and not torch.equal(after[n], before[n])]
        assert len(moved) > 0.3 * (len(after) - len(names))
        batch = self.batch(folder)
        was, now = (self.first_layer(x.eval(), batch) for x in (untrained, worker.model))
        if was is not None:
            assert torch.equal(was, now), "what comes out of the frozen layer has changed"

    @torch.inference_mode()
    def first_layer(self, model: Any, batch: Batch) -> Any:
        """What comes out of the lowest layer; None of CANINE, which has three encoders."""
        inputs = model._inputs(batch)
        found = model.encoder(**inputs, output_hidden_states=True)
        states = found.get("hidden_states", found.get("encoder_hidden_states"))
        return None if self.family.name == "CANINE" else states[1] * batch.attention_mask[..., None]

    def check_lora(self) -> None:
        """Adapters are trained alone, and say when they are merged what they said apart."""
        task = self.training("adapters", self.objective(), rank=2)
        worker = worker_of(task)
        before = {name: value.clone() for name, value in worker.model.weights().items()}
        worker.epoch()
        facts = worker.finish()
        folder = self.store.commit(task.out, {"info": facts, "seconds": 0.0}).local()
        after = worker.model.weights()
        moved = [name for name in after if not torch.equal(after[name], before[name])]
        assert any(".lora_B" in name for name in moved)
        assert not any(path.name == "model.safetensors" for path in folder.iterdir())
        batch, own = self.batch(folder), worker.model.eval()
        with torch.inference_mode():
            wanted, found = own(batch).logits, self.load(folder, 3)(batch).logits
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)

    @torch.inference_mode()
    def check_save(self) -> None:
        """What is loaded says what was in memory, whatever the seed of new heads."""
        batch = self.batch(self.model)
        own, loaded = self.worker.model.eval(), self.load(self.model, 3)
        for name, value in loaded.weights().items():
            assert torch.equal(value, own.weights()[name]), name
        wanted = own(batch).logits
        torch.testing.assert_close(loaded(batch).logits, wanted, rtol=0, atol=1e-5)
        self.logits, self.rows = wanted, batch

    @torch.inference_mode()
    def check_stock(self) -> None:
        """The folder is a stock model: with its own tokenizer it says the same of texts."""
        local: dict[str, Any] = {"local_files_only": True}
        batch, ours = self.rows, self.logits
        inputs: dict[str, Any] = {"attention_mask": batch.attention_mask}
        given = self.worker.model._inputs(batch)
        inputs |= {x: given[x] for x in ("token_type_ids", "lang_ids") if x in given}
        if self.kind == "span":
            config = transformers.AutoConfig.from_pretrained(
                self.model, trust_remote_code=False, **local
            )
            kind, more = bare_encoder(config)
            stock = kind.from_pretrained(
                self.model, trust_remote_code=False, **local, **more
            ).eval()
            found = stock(input_ids=batch.input_ids, **inputs).last_hidden_state
            theirs = found.flatten(0, 1)[batch.items]
            ours = self.worker.model.eval().encode(batch)
        elif self.kind == "token":
            kind = transformers.AutoModelForTokenClassification
            stock = kind.from_pretrained(self.model, trust_remote_code=False, **local).eval()
            found = stock(input_ids=batch.input_ids, **inputs).logits
            theirs = found.flatten(0, 1)[batch.items]
        else:
            kind = transformers.AutoModelForSequenceClassification
            stock = kind.from_pretrained(self.model, trust_remote_code=False, **local).eval()
            if self.family.name == "CANINE":  # which drops characters at the end of the padding
                theirs = stock(input_ids=batch.input_ids, **inputs).logits
            else:
                theirs = self.of_pipeline(stock, inputs)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)

    def of_pipeline(self, stock: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
        """Logits of the texts as a stock tokenizer gives them, one by one: some cannot pad."""
        local: dict[str, Any] = {"local_files_only": True}
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
            self.model, trust_remote_code=False, **local
        )
        said = []
        for row in self.text.to_pylist():
            texts = [row[name] for name in ("text", "text_pair") if name in row]
            read = dict(tokenizer(*texts, return_tensors="pt"))
            if "token_type_ids" not in inputs:
                read.pop("token_type_ids", None)
            if "lang_ids" in inputs:
                read["lang_ids"] = inputs["lang_ids"][:1]
            said.append(stock(**read).logits)
        return torch.cat(said)

    def check_onnx(self) -> str:
        """The graph says the same, or why there is none."""
        if self.kind == "span":
            return "export.onnx: run 'X' has a model of spans; distil it"
        try:
            write_onnx(self.model, task=self.task)
        except OnnxError as refused:
            return str(refused).replace(f"{self.model}/", "")
        return "done"


def cell(found: Mapping[str, str], notes: list[str]) -> str:
    """A cell of the table: what is done, and the numbers of the sentences for what is not."""
    missing = {name: said for name, said in found.items() if said != "done"}
    if not missing:
        return "all"
    for said in missing.values():
        if said not in notes:
            notes.append(said)
    numbers = ", ".join(str(notes.index(said) + 1) for said in dict.fromkeys(missing.values()))
    if len(missing) == len(CHECKS):
        return f"refused ({numbers})"
    return f"all but {', '.join(missing)} ({numbers})"


def table(families: tuple[Family, ...] = FAMILIES) -> str:
    """The table of docs/encoders.md."""
    lines = [f"| Family | {' | '.join(KINDS)} |", f"|:--{'|:--' * len(KINDS)}|"]
    notes: list[str] = []
    for family in families:
        cells, graph = [], ""
        for kind in KINDS:
            with TemporaryDirectory() as folder:  # pairs have the graph of texts
                found = Trial(family, kind, Path(folder)).run(onnx=kind != "pair")
            if kind == "pair" and "onnx" not in found:
                found["onnx"] = graph
            graph = found["onnx"]
            cells.append(cell(found, notes))
            print(f"{family.name}, {kind}: {cells[-1]}", file=sys.stderr, flush=True)
        lines.append(f"| {family.name} | {' | '.join(cells)} |")
    lines += ["", *(f"{number}. {said}" for number, said in enumerate(notes, start=1))]
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    wanted = sys.argv[1:]
    print(table(tuple(x for x in FAMILIES if not wanted or x.name in wanted)))
