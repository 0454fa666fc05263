"""Hard-Cat: the rate and the epochs."""

from ray import tune

SPACE = {
    "lr": tune.choice([1e-5, 2e-5, 5e-5]),
    "epochs": tune.choice([1, 3, 5]),
}
