"""``--dry-run``: check data, labels, cluster and backbone, print the plan, run nothing."""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from xlt_ray.config.layers import to_dict
from xlt_ray.config.schema import RunConfig
from xlt_ray.run.exit_codes import BAD_CONFIG, DONE
from xlt_ray.run.session import run_recipe

if TYPE_CHECKING:
    from xlt_ray.run.gold_steps import Oracle


def rehearse(
    config: RunConfig[Any],
    *,
    scored: bool = True,
    first: "Callable[[Oracle], object] | None" = None,
    coming: Collection[str] = (),
) -> int:
    """Check data, labels, cluster and backbone and print the plan; returns the exit code.

    Args:
        config: The configuration.
        scored: Whether the run will be scored on test splits.
        first: What is called before the recipe, as in `carry_out`.
        coming: Runs that will be finished before this one begins.
    """
    from xlt_ray.engine.resources import settle
    from xlt_ray.engine.trackers import check_installed
    from xlt_ray.run.dry_run import PlanDriver, PlanRunner, text_of
    from xlt_ray.run.gold_steps import Oracle
    from xlt_ray.run.scoring import Scorer, all_gold
    from xlt_ray.store.artifacts import Store
    from xlt_ray.store.run_folder import RunFolder

    check_installed(config)
    plan = settle(config.resources)
    store = Store(config.store.root)
    driver = PlanDriver(config, PlanRunner(store), plan, coming)
    gold = all_gold(driver)
    scorer, oracle = Scorer(driver, gold), Oracle(driver, gold)
    if scored:
        scorer.check_test()
    if first is not None:
        first(oracle)
    outcome = run_recipe(config, driver)
    if scored:
        scorer.zero_shot(outcome)
        scorer.final(outcome)
    RunFolder(store, config.run_name).write_json("resolved.json", to_dict(config))
    print(text_of(driver, plan))
    return BAD_CONFIG if driver.missing else DONE
