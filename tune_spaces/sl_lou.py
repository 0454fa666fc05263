"""SL-LOU: what rows are ranked by, the quota, the rate of a round, and smoothed labels."""

from ray import tune

SPACE = {
    "rank_by": tune.choice(["entropy", "max_probability"]),
    "ratio": tune.choice([0.04, 0.08, 0.16]),
    "round_lr": tune.choice([5e-6, 1e-5, 2e-5]),
    "label_smoothing": tune.choice([0.0, 0.1]),
}
