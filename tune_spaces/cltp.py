"""CLTP: the penalty on the size of a set, the loss, the quota and the rate of a round."""

from ray import tune

SPACE = {
    "lambda": tune.choice([2, 4, 8]),
    "tau": tune.choice([5, 10, 20]),
    "beta": tune.choice([0, 1, 2]),
    "ratio": tune.choice([0.04, 0.08, 0.16]),
    "round_lr": tune.choice([5e-6, 1e-5, 2e-5]),
}
