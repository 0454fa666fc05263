"""MRT: the diagonal of the fixed matrix and the rate.

The paper also tries a diagonal of 0.21, which with four classes or fewer is below chance.
"""

from ray import tune

SPACE = {
    "mu_psi": tune.choice([0.43, 0.67, 0.85, 0.9995]),
    "lr": tune.choice([1e-5, 2e-5, 5e-5]),
}
