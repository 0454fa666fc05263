"""SL-EVI: what rows are ranked by, the quota and the rate of a round."""

from ray import tune

SPACE = {
    "rank_by": tune.choice(["dissonance", "vacuity", "custom"]),
    "ratio": tune.choice([0.04, 0.08, 0.16]),
    "round_lr": tune.choice([5e-6, 1e-5, 2e-5]),
}
