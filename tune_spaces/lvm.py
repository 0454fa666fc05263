"""LVM: the diagonals of both matrices, where lambda ends, the rates of model and matrices.

The paper also tries a diagonal of 0.21, which with four classes or fewer is below chance.
"""

from ray import tune

SPACE = {
    "mu_psi": tune.choice([0.43, 0.67, 0.85, 0.9995]),
    "mu_sigma": tune.choice([0.43, 0.67, 0.85, 0.9995]),
    "lambda_last": tune.choice([0.0, 0.5]),
    "lr": tune.choice([1e-5, 2e-5, 5e-5]),
    "matrix_lr": tune.choice([2e-5, 2e-4, 2e-3]),
}
