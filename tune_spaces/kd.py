"""KD: temperature, share of the source loss, learning rate."""

from ray import tune

SPACE = {
    "T": tune.choice([1.0, 2.0, 3.0, 5.0]),
    "source_weight": tune.choice([0.0, 0.1, 0.5]),
    "reduction": tune.choice(["sum", "mean"]),
    "lr": tune.choice([5e-5, 1e-4, 2e-4]),
}
