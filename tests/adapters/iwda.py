from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.adapters.types import Evaluate, Json, double
from xlt_ray.models.critic import Critic
from xlt_ray.ops import alignment, distillation, importance


def _confusion(given: dict[str, Json]) -> dict[str, Any]:
    k, y = given["k"], torch.tensor(given["y"])
    counts = importance.confusion_counts(torch.tensor(given["pred"]), y, k)
    t = importance.class_counts(torch.tensor(given["tgt_pred"]), k)
    prior = importance.class_counts(y, k)
    return {
        "C": importance.share(counts),
        "t": importance.share(t),
        "p_S": importance.share(prior),
    }


def _qp(given: dict[str, Json]) -> dict[str, Any]:
    C, t, p = (np.array(given[name]) for name in ("C", "t", "p_S"))
    w = importance.estimate_weights(C, t, p)
    return {
        "w": w,
        "objective": float(np.square(C @ w - t).sum()),
        "target_prior": p * w,
        "w_init": importance.initial_weights(w, given["rho"]),
    }


def _project(given: dict[str, Json]) -> dict[str, Any]:
    v, p = double(given["v"]), double(given["p_S"])
    return {
        "euclidean": importance.project(v, p),
        "theta": float(importance.threshold(v, p)),
        "rescale": importance.rescale(v, p, torch.ones_like(v)),
    }


def _pgd_step(given: dict[str, Json]) -> dict[str, Any]:
    C, t, p, w, w0 = (double(given[name]) for name in ("C", "t", "p_S", "w", "w0"))
    residual, gradient = C @ w - t, importance.gradient(w, C, t)
    v = w - given["lr"] * (gradient + importance.ridge_gradient(w, w0, given["xi"]))
    return {
        "residual": residual,
        "loss": float(residual.square().sum()),
        "grad_data": gradient,
        "regulariser": given["xi"] * float((w - w0).square().sum()),
        "v": v,
        "w_next_euclidean": importance.project(v, p),
        "w_next_rescale": importance.rescale(v, p, w0),
    }


def _cdan(given: dict[str, Json]) -> dict[str, Any]:
    return {"feature": alignment.outer_product(double([given["p"]]), double([given["z"]]))[0]}


def _critic(given: dict[str, Json]) -> Critic:
    first, bias = double(given["W1"]), double(given["b1"])
    critic = Critic(first.shape[1], first.shape[0]).double()
    with torch.no_grad():
        critic.first.weight.copy_(first)
        critic.first.bias.copy_(bias)
        critic.second.weight.copy_(torch.stack([double(given["w2"]), torch.zeros(len(first))]))
        critic.second.bias.copy_(double([given["b2"], 0.0]))
    return critic


def _critic_loss(given: dict[str, Json]) -> dict[str, Any]:
    critic = _critic(given["critic"])
    source, target = critic(double(given["src"])).detach(), critic(double(given["tgt"])).detach()
    weights = double(given["w"])[torch.tensor(given["src_y"])]
    return {
        "src_scores": source,
        "tgt_scores": target,
        "gap": float(alignment.gap(source, weights, target)),
        "unweighted_gap": float(alignment.gap(source, torch.ones_like(weights), target)),
    }


def _gradient_penalty(given: dict[str, Json]) -> dict[str, Any]:
    critic = _critic(given["critic"])
    points = alignment.between(*(double(given[name]) for name in ("src", "tgt", "alpha")))
    points.requires_grad_()
    squares = critic.squared_slope(points).detach()
    return {
        "points": points.detach(),
        "grads": torch.autograd.grad(critic(points).sum(), points)[0],
        "sq_norms": squares,
        "penalty": float(squares.mean()),
        "weighted": given["mu"] * float(squares.mean()),
    }


def _cond_shift(given: dict[str, Json]) -> dict[str, Any]:
    sides: dict[str, np.ndarray] = {key: np.array(given[key]) for key in ("zs", "ys", "zt", "yt")}
    found = importance.conditional_shift(sides["zs"], sides["ys"], sides["zt"], sides["yt"])
    priors = (np.bincount(sides[key], minlength=given["k"]) for key in ("ys", "yt"))
    tv = importance.total_variation(*(counts / counts.sum() for counts in priors))
    return {"per_class": list(found.values()), "shift": float(np.mean([*found.values()])), "tv": tv}


def _kd(given: dict[str, Json]) -> dict[str, Any]:
    temperature, student = given["T"], double(given["student"])
    teacher = double(given["teacher"])
    p, q = distillation.soften(student, temperature), distillation.soften(teacher, temperature)
    per_item = distillation.mse(student / temperature, q)
    return {
        "student_probs": p,
        "teacher_probs": q,
        "mse": float(per_item.mean()),
        "sum_sq_per_item_mean": float(per_item.mean() * student.shape[1]),
    }


def _steps(given: dict[str, Json]) -> dict[str, Any]:
    steps = alignment.num_steps(
        epochs=given["epochs"],
        rows=given["n_target"],
        batch=given["batch"],
        mean_items=given["avg_len_target"],
        mean_source_items=given["avg_len_source"],
    )
    return {"steps": steps}


def _stats_ema(given: dict[str, Json]) -> dict[str, Any]:
    found: dict[str, Tensor] = {}
    for name in ("C", "t"):
        old, counts = double(given[name]), double(given[f"{name}_batch"])
        found[name] = importance.running(old, counts, given["s"])
        raw = importance.running_counts(old, counts, given["s"])
        found[f"{name}_counts_then_normalised"] = importance.share(raw)
    return found


IWDA: dict[str, Evaluate] = {
    "iwda.confusion": _confusion,
    "iwda.qp": _qp,
    "iwda.project": _project,
    "iwda.pgd_step": _pgd_step,
    "iwda.cdan": _cdan,
    "iwda.critic_loss": _critic_loss,
    "iwda.gradient_penalty": _gradient_penalty,
    "iwda.cond_shift": _cond_shift,
    "iwda.kd": _kd,
    "iwda.steps": _steps,
    "iwda.stats_ema": _stats_ema,
}
