"""ST: the share of the pool that an iteration takes, and its rate."""

from ray import tune

SPACE = {
    "share": tune.choice([0.0005, 0.02]),
    "lr": tune.choice([5e-6, 1e-5, 2e-5]),
}
