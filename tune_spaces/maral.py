"""MARAL: strength of correction, temperature of the score, exponents of the priors, neighbours."""

from ray import tune

SPACE = {
    "alpha_start": tune.choice([0.9, 0.95, 0.99]),
    "alpha_end": tune.choice([0.7, 0.8, 0.9]),
    "temp": tune.choice([0.05, 0.07, 0.1, 0.2]),
    "source_exponent": tune.choice([0.0, 0.1, 0.5, 1.0]),
    "target_exponent": tune.choice([0.0, 0.1, 0.5, 1.0]),
    "k": tune.choice([50, 200, 500]),
    "lr": tune.loguniform(1e-5, 1e-4),
}
