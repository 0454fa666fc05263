"""FlexMatch: base threshold, weight of the target, rate."""

from ray import tune

SPACE = {
    "t0": tune.choice([0.8, 0.9, 0.95]),
    "lambda_u": tune.choice([0.5, 1.0, 2.0]),
    "lr": tune.choice([2e-6, 5e-6, 1e-5]),
}
