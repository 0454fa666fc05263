"""CoNLST: similarity, temperature and negatives, rates, thresholds, weights of losses, mixtures,
and smoothed labels.

Temperatures are those at which most texts have a loss (distances are in units of their median), and
the weight of the source consistency reaches to where its gradient is near that of the target loss.
"""

from ray import tune

SPACE = {
    "alpha": tune.choice([1.0, 4.0, 8.0]),
    "gamma": tune.choice([0.8, 0.9, 0.95]),
    "t0": tune.choice([0.8, 0.9, 0.95]),
    "threshold": tune.choice(["by_class", "fixed"]),
    "similarity": tune.choice(["neg_sq_l2", "neg_l2"]),
    "temp": tune.choice([0.2, 0.3, 0.5, 1.0]),
    "k_neg": tune.choice([4, 8, 16, 32]),
    "stage1_lr": tune.choice([2e-6, 5e-6, 1e-5]),
    "lambda_clcs": tune.loguniform(1e-3, 1.0),
    "lambda_u": tune.choice([0.5, 1.0, 2.0]),
    "lr": tune.choice([2e-6, 5e-6, 1e-5]),
    "iterations": tune.choice([1, 2, 3, 4, 5]),
    "label_smoothing": tune.choice([0.0, 0.1]),
}
