"""Rules for series of numbers: windows, a linear highway with a small patched Transformer beside it."""

from __future__ import annotations

from collections.abc import Iterator

from dragoman.recipe.facts import SeriesFacts
from dragoman.recipe.planning import Choice

HORIZONS = {  # steps a season, steps that are forecast, as the M4 competition asked for them
    24: 48,
    7: 14,
    52: 13,
    12: 18,
    4: 8,
}
_LONGEST_CONTEXT = 336
"""What DLinear (Zeng et al. 2023) and PatchTST (Nie et al. 2023) see."""
_CONTEXTS = 7
"""Horizons that a context holds where there is room, at most what N-BEATS (Oreshkin et al. 2020) takes."""
_DEV_SHARE, _TEST_SHARE = 0.1, 0.2
_WINDOWS_A_BATCH = 128


def series_choices(facts: SeriesFacts) -> Iterator[Choice]:
    """Choose all of a recipe for series."""
    horizon, context = _windows(facts)
    yield from _files(facts, horizon)
    why = f"{_horizon_why(facts, horizon)} The context is as long as {context} steps: "
    why += "seven horizons, but at most 336 steps and a third of a series. Change them to what you need."
    yield Choice("data.windows", {"context": context, "horizon": horizon}, why)
    yield from _codecs(facts)
    yield from _model(facts, context, horizon)
    yield from _training(facts, context, horizon)
    yield Choice("decoding", {"method": "forecast"})
    yield from _metrics(facts)


def _windows(facts: SeriesFacts) -> tuple[int, int]:
    """Choose the horizon, and a context that leaves most of the training part for targets."""
    room, scored = facts.steps, facts.test_steps or facts.steps
    if facts.dev_steps is None and facts.test_steps is None:
        room, scored = (
            round(facts.shortest * (1 - _DEV_SHARE - _TEST_SHARE)),
            round(facts.shortest * _DEV_SHARE),
        )
    wanted = HORIZONS.get(facts.season or 0, facts.season or 10)
    if _is_one_horizon(facts):
        wanted = facts.test_steps or wanted
    horizon = max(1, min(wanted, room // 4, scored))
    return horizon, max(1, min(_LONGEST_CONTEXT, _CONTEXTS * horizon, room // 3))


def _is_one_horizon(facts: SeriesFacts) -> bool:
    """Say whether the test file holds just what is to be forecast, as those of M4 do."""
    return facts.test_steps is not None and facts.test_steps <= 4 * (facts.season or 12)


def _horizon_why(facts: SeriesFacts, horizon: int) -> str:
    if _is_one_horizon(facts):
        return f"The test file has {facts.test_steps} steps behind the end of training: the horizon."
    if facts.season in HORIZONS and horizon == HORIZONS[facts.season]:
        return f"A season of {facts.season} steps: the M4 competition asked for {horizon} steps of such data."
    return f"{horizon} steps are forecast: a season, or what the length of the series allows."


def _files(facts: SeriesFacts, horizon: int) -> Iterator[Choice]:
    base = dict(facts.files.train)
    if facts.dev_steps is not None or facts.test_steps is not None:
        yield from _given_files(facts, base, horizon)
        return
    why = "Split by time, 7 : 1 : 2, as is usual: what is held out comes after all that is learnt from."
    dev, test = _bounds(facts)
    yield Choice("data.train", [{**base, "part": [None, dev]}], why)
    yield Choice("data.dev", {**base, "part": [dev, test]})
    yield Choice("data.test", {**base, "part": [test, None]})


def _bounds(facts: SeriesFacts) -> tuple[int, int]:
    """Return where development and test begin: rows from the end where series differ in length."""
    if facts.shortest < facts.steps:
        test = -max(1, round(facts.shortest * _TEST_SHARE))
        return min(test - 1, -round(facts.shortest * (_DEV_SHARE + _TEST_SHARE))), test
    test = min(facts.steps - 1, round(facts.steps * (1 - _TEST_SHARE)))
    return min(test - 1, round(facts.steps * (1 - _DEV_SHARE - _TEST_SHARE))), test


def _given_files(facts: SeriesFacts, base: dict[str, object], horizon: int) -> Iterator[Choice]:
    """Put files of one set of series end to end; the last steps of each list are what is scored."""
    names = [base["series"]]
    if facts.files.dev is not None:
        yield Choice("data.train", [base])
        names.append(facts.files.dev["series"])
        yield Choice("data.dev", {**base, "series": list(names), "part": [-(facts.dev_steps or 1), None]})
    else:
        held = -(horizon if _is_one_horizon(facts) else max(horizon, round(facts.shortest * _DEV_SHARE)))
        why = "No development file: the last steps of the training file are kept to validate on."
        yield Choice("data.train", [{**base, "part": [None, held]}], why)
        yield Choice("data.dev", {**base, "part": [held, None]})
    if facts.files.test is not None:
        names.append(facts.files.test["series"])
        why = "The test file goes on where the one before it ends."
        yield Choice("data.test", {**base, "series": names, "part": [-(facts.test_steps or 1), None]}, why)


def _codecs(facts: SeriesFacts) -> Iterator[Choice]:
    source: dict[str, object] = {"kind": "numbers", "scale": "window"}
    why = "Levels drift: each window is scaled by its own context (Kim et al. 2022)."
    if facts.missing:
        source["missing"] = "forward"
        why += (
            f" {facts.missing:.2%} of the values are missing: the value before stands for them, and says so."
        )
    yield Choice("source", source, why)
    target: dict[str, object] = {"kind": "numbers", "scale": "window"}
    if facts.season:
        target["season"] = facts.season
    yield Choice("target", target, facts.season_why)


def _model(facts: SeriesFacts, context: int, horizon: int) -> Iterator[Choice]:
    if context >= 32:
        yield Choice(
            "model.frontend",
            {"kernels": [16], "strides": [8], "activation": "none"},
            "Patches of 16 steps, every 8, are what attention looks at (Nie et al. 2023).",
        )
    part = {"kind": "transformer", "width": 32, "heads": 4, "feedforward_width": 64, "dropout": 0.3}
    yield Choice(
        "model.encoder",
        {**part, "layers": 2},
        "Small: most of a forecast is a line through the past, what is left is mostly noise.",
    )
    yield Choice("model.decoder", {**part, "layers": 1})
    patch = max(1, min(24, facts.season or 1, horizon))
    yield Choice(
        "model.rollout",
        {"kind": "whole", "patch": patch, "linear": True, "ridge": 0.3, "ridge_growth": 1.0},
        "A linear map from context to horizon, fitted before training, is hard to beat (Zeng et al. 2023); "
        "what is long ago counts less in it (Litterman 1986). The Transformer learns what it leaves. All "
        "steps at once: no error feeds on another.",
    )


def _training(facts: SeriesFacts, context: int, horizon: int) -> Iterator[Choice]:
    if facts.is_collection:
        yield Choice(
            "training.objective",
            {"kind": "absolute", "units": "codec"},
            "Many series of different sizes: errors count by each window's own scale.",
        )
    else:
        yield Choice(
            "training.objective", {"kind": "squared"}, "Large errors are worse than many small ones."
        )
    windows = facts.series * (facts.variables if facts.is_apart else 1)
    windows *= max(1, round(facts.steps * (1 - _DEV_SHARE - _TEST_SHARE)) - context - horizon)
    steps = min(2500, max(500, round(6 * windows / _WINDOWS_A_BATCH / 250) * 250))
    yield Choice("training.optimizer", {"kind": "adamw", "learning_rate": 0.0003, "weight_decay": 0.01})
    yield Choice(
        "training.schedule",
        {"kind": "cosine", "steps": steps, "warmup_steps": 50, "final_fraction": 0.02},
        "Training begins at a fitted line: small careful steps.",
    )
    yield Choice("training.batch_tokens", _WINDOWS_A_BATCH * max(context, horizon), "128 windows a step.")
    passes = max(1, round(steps / max(1.0, windows / _WINDOWS_A_BATCH)))
    why = f"About {windows:,} windows, {passes:,} passes over them: at most 2,500 steps, then it memorises."
    yield Choice("training.max_steps", steps, why)
    yield Choice("training.validate_every", 250)
    yield Choice("training.validation_examples", 200)
    yield Choice("training.checkpoint_every", 250)
    yield Choice(
        "training.early_stopping", {"patience": 4}, "Series are noisy: the end is where dev gets worse."
    )


def _metrics(facts: SeriesFacts) -> Iterator[Choice]:
    if facts.is_collection:
        metrics: list[object] = ["smape"] if facts.is_positive else []
        metrics += ["mase"] if facts.season else []
        why = "Series of different sizes: errors relative to the values, and to those of the last season."
        yield Choice("evaluation.metrics", [*metrics, "mae"], why)
        return
    metrics = [{"name": "mse", "units": "global"}, {"name": "mae", "units": "global"}]
    why = "In deviations of the training values, as published scores mostly are"
    if facts.season:
        metrics.append("mase")
        why += "; below 1, mase beats repeating the last season"
    yield Choice("evaluation.metrics", metrics, f"{why}.")
