"""IWDA: strengths of alignment, penalty and weight decay, and how even the weights begin."""

from ray import tune

SPACE = {
    "lambda_iw": tune.choice([0.5, 1.0, 2.0, 4.0]),
    "lambda_da": tune.choice([1e-3, 5e-3, 1e-2]),
    "lambda_gp": tune.choice([1.0, 10.0]),
    "guard": tune.choice(["none", "residual"]),
    "rho": tune.choice([0.0, 0.25, 0.5, 1.0]),
}
