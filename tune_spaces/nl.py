"""Vanilla NL: its rate, and the weight of the source beside it."""

from ray import tune

SPACE = {
    "stage1_lr": tune.choice([2e-6, 5e-6, 1e-5]),
    "lambda_clcs": tune.choice([0.0, 1e-3, 1e-2]),
}
