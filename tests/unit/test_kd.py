"""KD: what its loss is made of, how large its two parts are, and what a run says of them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.recipes import FACTS, C, MemoryDriver, batch_of, logits_of, output_of, run_method
from xlt_ray.methods.kd import KDConfig, MatchSoftened, diagnosed
from xlt_ray.recipe.schedule import OptimiserStep

T = 3.0


def prepared(**options: Any) -> MatchSoftened:
    values: dict[str, Any] = {
        "T": T,
        "source_weight": 0.1,
        "reduction": "mean",
        "t_squared": False,
        **options,
    }
    loss = MatchSoftened(**values)
    loss.prepare(FACTS, torch.nn.Linear(1, 1))  # type: ignore[arg-type]
    loss.before_step(OptimiserStep(0, 1, items=3, paired=0))
    return loss


def of(loss: MatchSoftened, logits: torch.Tensor, teacher: torch.Tensor) -> dict[str, torch.Tensor]:
    logits.requires_grad_()
    batch = batch_of([0, 1, 2], columns={"teacher.probs": teacher})
    return loss.loss(output_of(logits), batch)


@pytest.mark.parametrize(
    ("reduction", "t_squared", "scale"),
    [("mean", False, 1), ("sum", False, C), ("mean", True, 9), ("sum", True, 9 * C)],
)
def test_the_distance_is_scaled_as_asked(reduction: str, t_squared: bool, scale: int) -> None:
    logits, teacher = logits_of(3, 1), (logits_of(3, 2) / T).softmax(-1)
    expected = ((logits / T).softmax(-1) - teacher).square().mean(dim=1).sum().item() * scale
    found = of(prepared(reduction=reduction, t_squared=t_squared), logits, teacher)
    assert found["match"].item() == pytest.approx(expected)
    whole = found["match"].item() + 0.1 * found["source"].item()
    assert found["loss"].item() == pytest.approx(whole)


def test_averaged_differences_are_nothing_beside_the_source() -> None:
    """Times T squared and summed over the classes, the teacher moves the student as the source
    does; by the mean of squares at T = 3 much less."""
    ratios = {}
    for name, options in (("before", {}), ("now", {"reduction": "sum", "t_squared": True})):
        loss = prepared(**options)
        of(loss, logits_of(3, 1, spread=0.5), (logits_of(3, 2) / T).softmax(-1))
        ratios[name] = loss.progress()["gradient_ratio"]
    assert ratios["now"] == pytest.approx(9 * C * ratios["before"])
    assert ratios["before"] < 0.2
    assert ratios["now"] > 1


def test_both_terms_are_in_the_record_as_they_are_weighted() -> None:
    loss = prepared(reduction="sum", t_squared=True)
    logits, teacher = logits_of(3, 1), (logits_of(3, 2) / T).softmax(-1)
    found = of(loss, logits, teacher)
    saved = {name: value.clone() for name, value in loss.state_dict().items()}
    own = loss.progress()
    assert own["match"] == pytest.approx(found["match"].item() / 3)
    assert own["source"] == pytest.approx(0.1 * found["source"].item() / 3)
    norms = [
        torch.autograd.grad(term, logits, retain_graph=True)[0].norm().item()
        for term in (found["match"], 0.1 * found["source"])
    ]
    assert own["gradient_ratio"] == pytest.approx(norms[0] / norms[1])
    again = prepared()
    again.load_state_dict(saved)
    assert again.progress() == own


def test_a_run_says_which_term_was_at_work(tmp_path: Path) -> None:
    def model(ratio: float) -> Any:
        own = {"match": 0.1, "source": 0.2, "gradient_ratio": ratio}
        return SimpleNamespace(history=[{"own": own}])

    terms, ratio = diagnosed({"a": model(0.02), "b": model(0.8)})
    assert dict(terms.figures) == {"a teacher": 0.1, "b teacher": 0.1, "a source": 0.2,
                                   "b source": 0.2}  # fmt: skip
    assert dict(ratio.figures) == {"a": 0.02, "b": 0.8}
    assert "the source labels alone move the student of a" in str(ratio.warning)
    outcome = run_method("kd", MemoryDriver(tmp_path), frozen_layers=None)
    assert len(outcome.mechanisms) == 2


def test_defaults() -> None:
    config = KDConfig()
    assert (config.reduction, config.t_squared, config.T) == ("mean", True, 3.0)
