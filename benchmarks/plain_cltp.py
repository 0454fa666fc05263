"""CLTP as a plain script: one process, all text in memory, nothing kept, no cluster.

The algorithm is that of ``method.name=cltp``: source training chosen on source dev, rounds of
annotate, select and train, a final pass from the best round, scores of every test set. Formulas are
those of `xlt_ray.ops`, files are read and long sentences cut by `xlt_ray.data`; the loops, batches
and choices are here.

    python -m benchmarks.plain_cltp <configuration of a run as JSON>
"""

import copy
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from transformers import AutoModelForTokenClassification, AutoTokenizer

from xlt_ray.config.schema import Split
from xlt_ray.data.batches.tokenise import tokenise, windows
from xlt_ray.data.benchmarks.registry import lookup, sources
from xlt_ray.data.schema import TEXT_SCHEMA, Example
from xlt_ray.engine.train.optimiser import warmup_then_decay
from xlt_ray.labels import LabelSet, bio_spans_of_ids, has_orphan_of_ids
from xlt_ray.metrics import Ragged, seqeval_f1
from xlt_ray.ops import evidential, leveraged, partial_labels, selection, uncertainty

BATCH, MAX_LENGTH = 32, 128


@dataclass
class Sentence:
    """A tokenised sentence: its windows of sub-words, in each of them the first sub-words of those
    words that are labelled there, labels and sets of all words."""

    name: str
    language: str
    windows: list[list[int]]
    firsts: list[list[int]]
    labels: list[int]
    sets: list[int] = field(default_factory=list)
    items: list[int] = field(default_factory=list)

    @property
    def longest(self) -> int:
        """Sub-words of its longest window."""
        return max(map(len, self.windows))

    @property
    def size(self) -> int:
        """Number of words."""
        return sum(map(len, self.firsts))


class Script:
    """The whole of it, for one configuration."""

    def __init__(self, config: Mapping[str, Any]):
        self.config, self.method = config, config["method"]
        self.benchmark = lookup(config["benchmark"]["name"])
        self.labels = LabelSet(self.benchmark.labels)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(
            config["backbone"], trust_remote_code=False
        )
        self.model = AutoModelForTokenClassification.from_pretrained(
            config["backbone"],
            num_labels=len(self.labels.names),
            dtype=torch.float32,
            trust_remote_code=False,
        )
        self.seconds = defaultdict[str, float](float)
        self.trained = 0  # sub-words
        self.random = random.Random(config["seed"])
        torch.manual_seed(config["seed"])

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Take note of the seconds of a part."""
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start

    def read(self, split: Split, languages: Sequence[str]) -> list[Sentence]:
        """Sentences of a split, tokenised."""
        chosen, found = self.config["benchmark"], list[Example]()
        read = sources(
            self.benchmark, root=chosen.get("root"), languages=languages, split=split,
            toy=chosen.get("toy", {}),
        )  # fmt: skip
        for source in read:
            rows = source.examples(self.labels, chosen.get("max_rows", {}).get(split))
            found += [row for row in rows if isinstance(row, Example)]
        text = [{"id": x.id, "language": x.language, "tokens": x.tokens} for x in found]
        table = pa.Table.from_pylist(text, schema=TEXT_SCHEMA["token"])
        coded = tokenise(table, self.tokenizer, task="token").to_pylist()
        sentences = []
        for row, code in zip(found, coded, strict=True):
            labels = list(row.labels if isinstance(row.labels, tuple) else ())
            parts = self.cut(code["pieces"], code["lengths"])
            sentences.append(Sentence(row.id, row.language, *parts, labels))
        return sentences

    def cut(self, pieces: list[int], lengths: list[int]) -> tuple[list[list[int]], list[list[int]]]:
        """Windows of a sentence, and the first sub-words of the words that are labelled in each."""
        room, ends = MAX_LENGTH - 2, list(accumulate(lengths))
        words = [pieces[end - size : end][:room] for end, size in zip(ends, lengths, strict=True)]
        rows, firsts = list[list[int]](), list[list[int]]()
        for window in windows(lengths, room):
            inside = words[window.start : window.end]
            begins = list(accumulate((len(word) for word in inside), initial=1))
            firsts.append(begins[window.first - window.start : window.last - window.start])
            own = [piece for word in inside for piece in word]
            rows.append([self.tokenizer.cls_token_id, *own, self.tokenizer.sep_token_id])
        return rows, firsts

    # -- forward passes --------------------------------------------------------------------------

    def logits(self, batch: Sequence[Sentence]) -> Tensor:
        """Outputs at the first sub-word of every word."""
        rows = [row for sentence in batch for row in sentence.windows]
        firsts = [own for sentence in batch for own in sentence.firsts]
        width, pad = max(map(len, rows)), self.tokenizer.pad_token_id
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
        found = self.model(input_ids=ids, attention_mask=(ids != pad).long()).logits
        places = [number * width + at for number, own in enumerate(firsts) for at in own]
        return found.flatten(0, 1)[torch.tensor(places)]

    @torch.inference_mode()
    def evidence(
        self, sentences: Sequence[Sentence]
    ) -> Iterator[tuple[Sequence[Sentence], Tensor]]:
        """Evidence of all words, by batches of similar length."""
        self.model.eval()
        order = sorted(sentences, key=lambda sentence: sentence.longest)
        for at in range(0, len(order), BATCH):
            batch = order[at : at + BATCH]
            yield batch, evidential.evidence(self.logits(batch).double())

    def score(self, sentences: Sequence[Sentence]) -> float:
        """Entity F1."""
        gold, found = [], []
        for batch, evidence in self.evidence(sentences):
            best = evidence.argmax(dim=1).tolist()
            for sentence in batch:
                found.append(best[: sentence.size])
                best = best[sentence.size :]
                gold.append(sentence.labels)
        return seqeval_f1(Ragged.of(gold), Ragged.of(found), self.labels)

    # -- training --------------------------------------------------------------------------------

    def train(
        self,
        rows: Sequence[Sentence],
        loss: Callable[[Tensor, Sequence[Sentence]], Tensor],
        *,
        lr: float,
        epochs: int,
        dev: Sequence[Sentence],
        keep_best: bool,
        patience: int | None = None,
    ) -> float:
        """Train the model; gives the source-dev score of what is kept."""
        optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=lr, weight_decay=1e-4, betas=(0.9, 0.999), fused=True
        )
        steps, number = -(-len(rows) // BATCH) * epochs, 0
        scores, best = list[float](), None
        for _ in range(epochs):
            self.model.train()
            for batch in self.epoch(rows):
                self.trained += sum(len(row) for sentence in batch for row in sentence.windows)
                value = loss(self.logits(batch), batch)
                (value / sum(sentence.size for sentence in batch)).backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                for group in optimiser.param_groups:
                    group["lr"] = lr * warmup_then_decay(number, steps, 0.1)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                number += 1
            scores.append(self.score(dev))
            if keep_best and scores[-1] == max(scores):
                best = copy.deepcopy(self.model.state_dict())
            if patience and len(scores) - 1 - scores.index(max(scores)) >= patience:
                break
        if best is not None:
            self.model.load_state_dict(best)
        return max(scores) if keep_best else scores[-1]

    def epoch(self, rows: Sequence[Sentence]) -> list[list[Sentence]]:
        """Shuffled steps of similar length."""
        rows = self.random.sample(list(rows), len(rows))
        steps = []
        for at in range(0, len(rows), BATCH * 50):
            part = sorted(rows[at : at + BATCH * 50], key=lambda sentence: sentence.longest)
            steps += [part[k : k + BATCH] for k in range(0, len(part), BATCH)]
        self.random.shuffle(steps)
        return steps

    def one_class(self, logits: Tensor, batch: Sequence[Sentence]) -> Tensor:
        """L_EVI of the labels."""
        labels = torch.tensor([label for sentence in batch for label in sentence.labels])
        return evidential.evidential_nll(evidential.evidence(logits), labels).sum()

    def with_sets(self, rows: Sequence[Sentence]) -> Callable[[Tensor, Sequence[Sentence]], Tensor]:
        """The LW loss over some sentences, with weights that follow the model."""
        total, classes = 0, len(self.labels.names)
        for sentence in rows:
            sentence.items = list(range(total, total + sentence.size))
            total += sentence.size
        omega = torch.full((total, classes), 1 / classes)

        def loss(logits: Tensor, batch: Sequence[Sentence]) -> Tensor:
            f = evidential.evidence(logits)
            sets = torch.tensor([x for sentence in batch for x in sentence.sets])
            items = torch.tensor([x for sentence in batch for x in sentence.items])
            mask = partial_labels.from_bitmask(sets, classes)
            found = leveraged.lw_loss(f, mask, omega[items], beta=self.method["beta"])
            omega[items] = leveraged.lw_weights(f, mask).detach()
            return found.loss_N.sum()

        return loss

    # -- rounds ----------------------------------------------------------------------------------

    def select(
        self, pool: Sequence[Sentence], sizes: Mapping[str, int], sets: bool
    ) -> list[Sentence]:
        """Label a pool and choose of it, by language."""
        types = {name: at for at, name in enumerate(self.labels.entity_types)}
        by_language: dict[str, list[tuple[Sentence, np.ndarray, bool]]] = {}
        for batch, evidence in self.evidence(pool):
            best = evidence.argmax(dim=1)
            if sets:
                c = self.method
                found = partial_labels.candidate_sets(
                    evidence, lam=c["lambda"], tau=c["tau"], penalty=c["penalty"]
                )
                masks, gamma = found.mask_N, found.gamma_N
            else:
                masks = torch.ones_like(best) << best
                gamma = uncertainty.dissonance(evidential.dirichlet(evidence).belief_NC)
            silent = (evidential.strength(evidence) < len(self.labels.names) + 1e-3).tolist()
            labels, masks, gamma = best.tolist(), masks.tolist(), gamma.tolist()
            at = 0
            for sentence in batch:
                own = slice(at, at + sentence.size)
                at = own.stop
                sentence.labels, sentence.sets = labels[own], masks[own]
                scores = np.full(len(types), np.nan)
                spans: dict[int, list[float]] = {}
                for span in bio_spans_of_ids(sentence.labels, self.labels):
                    mean = float(np.mean(gamma[own][span.start : span.end]))
                    spans.setdefault(types[span.type], []).append(mean)
                for number, means in spans.items():
                    scores[number] = np.mean(means)
                valid = not has_orphan_of_ids(sentence.labels, self.labels)
                valid = valid and not any(silent[own])
                by_language.setdefault(sentence.language, []).append((sentence, scores, valid))
        chosen = []
        for language, rows in by_language.items():
            rows.sort(key=lambda row: row[0].name)
            mask = selection.select_sentences(
                np.stack([row[1] for row in rows]),
                order_N=np.arange(len(rows)),
                k=selection.quota(self.method["ratio"], sizes[language]),
                valid_N=np.array([row[2] for row in rows]),
            )
            chosen += [row[0] for row, taken in zip(rows, mask, strict=True) if taken]
        return chosen

    def run(self) -> dict[str, Any]:
        """All of the algorithm; gives scores and how many sentences each round chose."""
        c, targets = self.method, self.config["benchmark"]["targets"]
        source = self.config["benchmark"].get("source") or [self.benchmark.source]
        with self.timed("reading"):
            gold, dev = self.read("train", source), self.read("dev", source)
            pool = self.read(self.config["benchmark"]["unlabelled_split"], targets)
            tests = {name: self.read("test", [name]) for name in (*source, *targets)}
        for sentence in gold:
            sentence.sets = [1 << label for label in sentence.labels]
        sizes = {name: sum(x.language == name for x in pool) for name in targets}
        rule = {"lr": c["source_lr"], "epochs": c["source_epochs"], "dev": dev, "keep_best": True}
        with self.timed("training"):
            found = [self.train(gold, self.one_class, **rule)]
        with self.timed("scoring"):
            zero_shot = {name: self.score(rows) for name, rows in tests.items()}
        counts, earlier, best, weights = list[int](), list[Sentence](), -1.0, None
        for number in range(1, c["rounds"] + 1):
            has_sets = number > c["one_hot_rounds"]
            with self.timed("annotation"):
                picked = self.select(pool, sizes, has_sets)
            if not picked:
                break
            share = self.random.sample(gold, int(c["src_ratio"] * len(gold)))
            before = self.random.sample(earlier, min(len(picked), len(earlier)))
            rows = [*share, *picked, *before]
            loss = self.with_sets(rows) if has_sets else self.one_class
            rule = {"lr": c["round_lr"], "epochs": c["round_epochs"], "dev": dev}
            with self.timed("training"):
                found.append(self.train(rows, loss, **rule, keep_best=False))
            if found[-1] > best:
                best, weights = found[-1], copy.deepcopy(self.model.state_dict())
            taken = {sentence.name for sentence in picked}
            pool = [sentence for sentence in pool if sentence.name not in taken]
            earlier, counts = [*earlier, *picked], [*counts, len(picked)]
        if weights is not None and c["final_epochs"]:
            self.model.load_state_dict(weights)
            rows = [*gold, *earlier]
            rule = {"lr": c["round_lr"], "epochs": c["final_epochs"], "dev": dev, "keep_best": True}
            with self.timed("training"):
                found.append(
                    self.train(rows, self.with_sets(rows), **rule, patience=c["final_patience"])
                )
            if found[-1] < best:
                self.model.load_state_dict(weights)
        with self.timed("scoring"):
            test = {name: self.score(rows) for name, rows in tests.items()}
        seconds = {name: round(value, 1) for name, value in self.seconds.items()}
        return {
            "source_dev": found, "selected": counts, "zero_shot": zero_shot, "test": test,
            "seconds": seconds, "trained": self.trained,
        }  # fmt: skip


def main() -> None:
    """Run the configuration that is the first argument; print what came out."""
    config = json.loads(sys.argv[1])
    torch.set_num_threads(config["threads"])
    print(json.dumps(Script(config).run()))


if __name__ == "__main__":
    main()
