"""ST: the share of the pool that an iteration takes, its rate, and smoothed labels."""

from ray import tune

SPACE = {
    "share": tune.choice([0.0005, 0.02]),
    "lr": tune.choice([5e-6, 1e-5, 2e-5]),
    "label_smoothing": tune.choice([0.0, 0.1]),
}
