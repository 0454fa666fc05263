"""LVM: the paper's scales of both matrices, where lambda ends, the rates of model and matrices."""

from ray import tune

SPACE = {
    "tau_psi": tune.choice([1, 2, 3, 4, 10]),
    "tau_sigma": tune.choice([1, 2, 3, 4, 10]),
    "lambda_last": tune.choice([0.0, 0.5]),
    "lr": tune.choice([1e-5, 2e-5, 5e-5]),
    "matrix_lr": tune.choice([2e-5, 2e-4, 2e-3]),
}
