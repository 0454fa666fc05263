"""KD-re: the loss, the rate, and how much of the student is frozen."""

from ray import tune

SPACE = {
    "kd_loss": tune.choice(["mse", "kl"]),
    "lr": tune.choice([5e-5, 1e-4, 2e-4]),
    "frozen_layers": tune.choice([None, 3]),
}
