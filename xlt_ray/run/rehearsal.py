"""``--dry-run``: check data, labels, cluster and backbone, print the plan, run nothing."""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from xlt_ray.config.layers import to_dict
from xlt_ray.config.schema import RunConfig
from xlt_ray.data.readers import user_files
from xlt_ray.run.exit_codes import BAD_CONFIG, DONE
from xlt_ray.run.session import run_recipe

if TYPE_CHECKING:
    from xlt_ray.run.dry_run import DryRun
    from xlt_ray.run.gold_steps import Oracle


def rehearse(
    config: RunConfig[Any],
    *,
    first: "Callable[[Oracle], object] | None" = None,
    earlier_runs: Collection[str] = (),
    is_trial: bool = False,
) -> int:
    """Check data, labels, cluster and backbone and print the plan; returns the exit code.

    Args:
        config: The configuration.
        first: What is called before the recipe, as in `carry_out`.
        earlier_runs: Runs that will be finished before this one begins.
        is_trial: Whether it is a trial of a sweep, which is not scored on test splits.
    """
    dry = followed(config, first=first, earlier_runs=earlier_runs, is_trial=is_trial)
    return BAD_CONFIG if dry.missing else DONE


def followed(
    config: RunConfig[Any],
    *,
    first: "Callable[[Oracle], object] | None" = None,
    earlier_runs: Collection[str] = (),
    is_trial: bool = False,
) -> "DryRun":
    """`rehearse`, for who wants to know more of it than the exit code."""
    from xlt_ray.engine.near_sources import near_lines, near_sources
    from xlt_ray.engine.resources import settle
    from xlt_ray.engine.trackers import check_installed
    from xlt_ray.run.dry_run import DryRun, text_of
    from xlt_ray.run.few import label_notes
    from xlt_ray.run.gold_steps import Oracle
    from xlt_ray.run.scoring import Scorer, all_gold
    from xlt_ray.run.seen import seen_lines
    from xlt_ray.store.artifacts import Store
    from xlt_ray.store.run_folder import RunFolder

    check_installed(config.run.trackers)
    if config.benchmark.name == user_files.NAME:
        print("\n".join(seen_lines(config)), end="\n\n")
    store = Store(config.store.root)
    plan = settle(config.resources, data=config.data)
    dry = DryRun(store, plan, earlier_runs, judges_left_out=is_trial)
    driver = dry.driver(config)
    gold = all_gold(driver)
    scorer, oracle = Scorer(driver, gold), Oracle(driver, gold)
    if not is_trial:
        scorer.check_test()
    if first is not None:
        first(oracle)
    outcome = run_recipe(config, driver)
    if not is_trial:
        scorer.zero_shot(outcome)
        scorer.final(outcome)
    RunFolder(store, config.run_name).write_json("resolved.json", to_dict(config))
    near = near_sources(config, dry.runner.texts, driver.source_languages, driver.targets)
    notes = label_notes(config, driver.few_rows, driver.begun, driver.labellers)
    print("\n".join([text_of(dry), *notes, *near_lines(near)]))
    return dry
