"""CoNLST: contrastive temperature and negatives, thresholds, weights of the losses, mixtures."""

from ray import tune

SPACE = {
    "alpha": tune.choice([1.0, 4.0, 8.0]),
    "gamma": tune.choice([0.8, 0.9, 0.95]),
    "t0": tune.choice([0.8, 0.9, 0.95]),
    "temp": tune.choice([0.1, 0.5, 1.0, 5.0]),
    "k_neg": tune.choice([4, 8, 16]),
    "lambda_clcs": tune.loguniform(1e-4, 1e-1),
    "lambda_u": tune.choice([0.5, 1.0, 2.0]),
    "lr": tune.choice([2e-6, 5e-6, 1e-5]),
    "iterations": tune.choice([1, 2, 3, 4, 5]),
}
