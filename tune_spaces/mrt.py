"""MRT: the paper's scales of the fixed matrix, and the rate."""

from ray import tune

SPACE = {
    "tau_psi": tune.choice([1, 2, 3, 4, 10]),
    "lr": tune.choice([1e-5, 2e-5, 5e-5]),
}
