"""The tools of the benchmarks, and that what is compared does the same work."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from benchmarks.attention import passes
from benchmarks.measure import Comparison, Contender, Timing, table, take_turns, title
from benchmarks.pieces import LAM, TAU, best_set
from benchmarks.plain_cltp import MAX_LENGTH, Script
from benchmarks.setting import EMBEDDED, Data
from benchmarks.whole import configuration
from tests.encoders import write_encoder
from xlt_ray.data.batches.examples import examples_of
from xlt_ray.data.batches.layout import InputLayout
from xlt_ray.data.batches.tokenise import TOKENISED
from xlt_ray.ops import partial_labels
from xlt_ray.run.check import configure_run


def test_contenders_take_turns_and_the_first_turn_does_not_count() -> None:
    calls: list[str] = []
    first = Contender("first", lambda: calls.append("a"))
    second = Contender("second", lambda: calls.append("b"), tokens=7, note="n")
    found = take_turns([first, second], repeats=3)
    assert calls == ["a", "b"] * 4
    assert [len(item.seconds) for item in found] == [3, 3]
    assert (found[1].name, found[1].tokens, found[1].note) == ("second", 7, "n")
    assert len(take_turns([first], repeats=1, warm=False)[0].seconds) == 1
    assert len(calls) == 9
    ticks = iter(range(8))
    timed = take_turns([first, second], repeats=1, clock=lambda: float(next(ticks)))
    assert [item.seconds for item in timed] == [(1.0,), (1.0,)]


def test_seconds_of_a_part_are_scaled_to_the_whole() -> None:
    (part,) = take_turns([Contender("p", lambda: time.sleep(0.01), share=0.01)], repeats=1)
    assert part.median >= 1.0


COMPARISON = Comparison(
    "Work", "rows", 100, [Timing("limit", (2.0, 1.0, 3.0), 50), Timing("ours", (4.0, 4.0, 4.0))],
    real_tokens=40, flops_per_token=2.0, load=(0.5, 1.0), notes=["A note."],
)  # fmt: skip


def test_ratios_are_of_medians() -> None:
    assert COMPARISON.ratio("ours", to="limit") == 0.5
    assert COMPARISON.to_json()["timings"][0]["median"] == 2.0


def test_a_table_shows_rates_padding_and_the_share_of_the_peak() -> None:
    lines = table(COMPARISON, peak_flops=100.0).splitlines()
    assert lines[2] == "100 rows; median of 3; load 0.5 before, 1.0 after. A note."
    assert lines[6] == "| limit | 2.00 | 50 | 1.00 | 0.80 | 50% |  |"
    assert lines[7] == "| ours | 4.00 | 25 | 0.50 |  |  |  |"
    assert "peak" not in table(COMPARISON)


def test_a_title_is_the_first_line() -> None:
    assert title("One.\n\nTwo.") == "One."
    assert title(None) == ""


@pytest.mark.parametrize("classes", [3, 7, 11])
def test_the_loop_over_sets_finds_the_same_sets(classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    evidence = torch.rand(12, classes, generator=generator, dtype=torch.float64) ** 4 * 30
    found = partial_labels.candidate_sets(evidence, lam=LAM, tau=TAU)
    masks = partial_labels.from_bitmask(found.mask_N, classes).numpy()
    assert [np.flatnonzero(x).tolist() for x in masks] == [
        sorted(best_set(x)) for x in evidence.numpy()
    ]


@pytest.mark.parametrize("data", [EMBEDDED, Data("folder", "encoder", ("de", "nl"))])
@pytest.mark.parametrize("large", [False, True])
def test_whole_runs_have_a_configuration(data: Data, large: bool) -> None:
    values = configuration(data, large=large)
    config = configure_run({**values, "store": {"root": "unused"}})
    assert config.method.source_epochs == (3 if large else 10)
    assert len(config.benchmark.targets) == (20 if large and data.root else 6)


@pytest.mark.parametrize("longest", [1, 3, 200])
def test_the_script_reads_long_sentences_as_a_run_does(longest: int) -> None:
    generator = np.random.default_rng(longest)
    lengths = generator.integers(1, longest + 1, size=300).tolist()
    pieces = generator.integers(10, 99, size=sum(lengths)).tolist()
    row = {"id": "i", "language": "de", "pieces": pieces, "lengths": lengths, "shapes": [0] * 300}
    table = pa.Table.from_pylist([row], schema=TOKENISED["token"])
    expected = list(examples_of(table, InputLayout(1, 2, 0, MAX_LENGTH)).rows(0))
    tokenizer = SimpleNamespace(cls_token_id=1, sep_token_id=2)
    script: Any = SimpleNamespace(tokenizer=tokenizer)
    windows, firsts = Script.cut(script, pieces, lengths)
    assert len(windows) > 1
    assert windows == [item.tokens.tolist() for item in expected]
    assert firsts == [item.firsts.tolist() for item in expected]


@pytest.mark.parametrize("forward", [True, False])
def test_both_kinds_of_attention_take_turns(tmp_path: Path, *, forward: bool) -> None:
    encoder = str(write_encoder(tmp_path))
    found = passes(encoder, 8, 32, precision="bf16", forward=forward, repeats=1)
    assert [x.name for x in found.timings] == ["fused", "eager"]
    assert found.units == 32
    assert all(len(x.seconds) == 1 for x in found.timings)
