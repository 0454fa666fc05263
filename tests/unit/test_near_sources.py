"""Which source is nearest to a target: the shares by hand, and what a dry run says."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.near_sources import judged, page
from tests.encoders import write_encoder
from xlt_ray.data.schema import Example
from xlt_ray.engine.near_sources import near_lines, near_sources
from xlt_ray.ops.nearness import neighbour_shares

RNG = np.random.default_rng(0)


def around(angle: float, size: int, *, spread: float = 0.05) -> np.ndarray:
    """Vectors near a direction of the plane, beside a part that all languages share."""
    angles = angle + spread * RNG.standard_normal(size)
    return np.stack([np.cos(angles), np.sin(angles), np.full(size, 5.0)], axis=1)


def slow_shares(target: np.ndarray, sources: dict[str, np.ndarray], k: int) -> dict[str, float]:
    least = min(len(x) for x in sources.values())
    cut = {name: x[:least] for name, x in sources.items()}
    centre = sum(x.mean(axis=0) for x in [*cut.values(), target]) / (len(cut) + 1)
    counts = dict.fromkeys(sources, 0)
    for row in target - centre:
        near = sorted(
            (-float(row @ (x - centre) / np.linalg.norm(x - centre)), i, name)
            for i, (name, x) in enumerate((n, x) for n, part in cut.items() for x in part)
        )
        for _, _, name in near[: min(k, least)]:
            counts[name] += 1
    return {name: count / sum(counts.values()) for name, count in counts.items()}


@pytest.mark.parametrize("k", [1, 3, 1000])
def test_shares_are_those_of_a_loop(k: int) -> None:
    sources = {"a": around(0, 7), "b": around(0.5, 9), "c": around(3, 6)}
    target = around(0.3, 5, spread=0.5)
    assert neighbour_shares(target, sources, k=k) == pytest.approx(slow_shares(target, sources, k))


def test_the_nearer_source_has_more() -> None:
    sources = {"near": around(0.2, 20), "far": around(2.5, 20)}
    found = neighbour_shares(around(0.0, 20), sources)
    assert found == {"near": 1.0, "far": 0.0}
    turned = dict(reversed(sources.items()))
    assert neighbour_shares(around(0.0, 20), turned) == found, "whatever the order"


def test_a_language_without_sentences_is_an_error() -> None:
    for target, sources in ((around(0, 0), {"a": around(0, 2)}), (around(0, 2), {})):
        with pytest.raises(ValueError, match="every language needs a sentence"):
            neighbour_shares(target, sources)


def rows(language: str, *texts: str) -> list[Example]:
    return [
        Example(f"{language}{i}", language, tuple(text.split()), None, None, None, "f", i + 1)
        for i, text in enumerate(texts)
    ]


def config_of(backbone: Path) -> Any:
    return SimpleNamespace(backbone=str(backbone), train=SimpleNamespace(max_length=32))


def test_sources_are_ranked_for_each_target(tmp_path: Path) -> None:
    """A target that says what one source says; a source that is a target has the other ones."""
    encoder = write_encoder(tmp_path)
    texts = {
        "a": rows("a", "das ist gut", "das war schlecht"),
        "b": rows("b", "und so weiter", "so weiter und"),
        "c": rows("c", "nur wort"),
        "t": rows("t", "und so weiter", "so weiter und"),
        "empty": [],
    }
    found = near_sources(config_of(encoder), texts, ["a", "b", "c"], ["t", "a", "empty", "none"])
    assert set(found) == {"t", "a"}
    assert next(iter(found["t"])) == "b"
    assert set(found["t"]) == {"a", "b", "c"}
    assert set(found["a"]) == {"b", "c"}
    assert all(sum(shares.values()) == pytest.approx(1) for shares in found.values())
    assert list(found["t"].values()) == sorted(found["t"].values(), reverse=True)
    (_, title, first, _) = near_lines(found)
    assert title.startswith("nearest source text")
    assert first.startswith("  t: b ")


def test_an_encoder_that_cannot_be_loaded_is_no_error_here(tmp_path: Path) -> None:
    """The plan names what is missing; the ranking stays away."""
    texts = {name: rows(name, "das") for name in "abt"}
    encoder = write_encoder(tmp_path)
    (encoder / "model.safetensors").unlink()
    assert near_sources(config_of(encoder), texts, ["a", "b"], ["t"]) == {}
    (encoder / "config.json").write_text('{"model_type": "none"}')
    assert near_sources(config_of(encoder), texts, ["a", "b"], ["t"]) == {}


def test_the_process_keeps_its_threads(tmp_path: Path) -> None:
    """What times this machine afterwards, for the cost of a plan, has all of them."""
    texts, before = {name: rows(name, "das") for name in "abt"}, torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert near_sources(config_of(write_encoder(tmp_path)), texts, ["a", "b"], ["t"])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_with_one_source_or_no_folder_nothing_is_said(tmp_path: Path) -> None:
    texts = {"a": rows("a", "das"), "b": rows("b", "und"), "t": rows("t", "das")}
    assert near_sources(config_of(tmp_path / "none"), texts, ["a", "b"], ["t"]) == {}
    assert near_sources(config_of(write_encoder(tmp_path)), texts, ["a"], ["t"]) == {}
    assert near_lines({}) == []


def test_a_ranking_is_judged_by_what_was_measured() -> None:
    """Two seeds: the nearest is best in the first one; en is the first source for all targets."""
    measured = [{"x": {"de": 0.5, "en": 0.4, "hi": 0.1}}, {"x": {"de": 0.3, "en": 0.4, "hi": 0.1}}]
    found = judged("x", {"de": 0.6, "en": 0.4, "hi": 0.0}, measured)
    assert (found.nearest, found.best) == ("de", "de")
    log = np.log2([2, 3, 4])
    second = (0.3 / log[0] + 0.4 / log[1] + 0.1 / log[2]) / (
        0.4 / log[0] + 0.3 / log[1] + 0.1 / log[2]
    )
    means = 1 / 3 * (1 / log).sum() * 1.0, 0.8 / 3 * (1 / log).sum()
    ideal = 0.5 / log[0] + 0.4 / log[1] + 0.1 / log[2], 0.4 / log[0] + 0.3 / log[1] + 0.1 / log[2]
    chance = (means[0] / ideal[0] + means[1] / ideal[1]) / 2
    wanted = ((1 + second) / 2, chance, 0.4, 0.45, 0.4, 0.3)
    assert found.figures == pytest.approx(wanted)
    assert page([found]).splitlines()[-1].startswith("| mean |")
