"""Sections of a recipe that do not go together are refused, each with what would do."""

import pytest

from dragoman.errors import RecipeError
from dragoman.recipe.decoding import Forecasting
from dragoman.recipe.loading import load_recipe, recipe_from
from dragoman.recipe.objectives import Squared
from dragoman.recipe.yaml_writer import write_yaml

NUMBERS = {
    "run": "run",
    "data": {
        "train": [{"series": "made.csv", "part": [None, -10]}],
        "dev": {"series": "made.csv", "part": [-10, None]},
        "windows": {"context": 6, "horizon": 4},
    },
    "source": {"kind": "numbers"},
    "target": {"kind": "numbers"},
    "training": {"max_steps": 1, "objective": {"kind": "squared"}},
    "decoding": {"method": "forecast"},
}
ALIGNED = {"kind": "lstm", "attention": {"kind": "aligned"}}


def said(model=None, objective=None, **decoding):
    training = {"max_steps": 1, "objective": objective or {"kind": "squared"}}
    given = {"model": model or {}, "training": training, "decoding": {"method": "forecast", **decoding}}
    return recipe_from(NUMBERS | given)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {
                "model": {"rollout": {"kind": "whole"}},
                "objective": {"kind": "huber", "scheduled_sampling": 0.5},
            },
            "`training.objective.scheduled_sampling` has no effect with `model.rollout.kind: whole`",
        ),
        (
            {"model": {"decoder": ALIGNED, "rollout": {"patch": 2}}},
            "`model.rollout.patch: 2` does not fit `model.decoder.attention.kind: aligned`",
        ),
        (
            {"model": {"decoder": ALIGNED | {"input_feeding": True}}},
            "`input_feeding` has no effect with `attention.kind: aligned`",
        ),
        ({"model": {"tie": "decoder"}}, "`model.tie: decoder` has no effect on `target.kind: numbers`"),
        ({"samples": 3}, "`decoding.samples` needs a distribution, .*squared"),
        ({"quantiles": [0.5]}, "`decoding.quantiles` need a distribution"),
        (
            {"objective": {"kind": "gaussian"}, "quantiles": [0.5]},
            "are those of its samples; `decoding.samples: 100` would do",
        ),
        (
            {"objective": {"kind": "quantile"}, "quantiles": [0.5, 0.2]},
            r"\[0.2\] are not among `training.objective.levels`",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(options, match):
    with pytest.raises(RecipeError, match=match):
        said(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"objective": {"kind": "gaussian"}, "samples": 10, "quantiles": [0.1, 0.9]},
        {"objective": {"kind": "quantile"}, "quantiles": [0.1, 0.9]},
        {"objective": {"kind": "student_t", "scheduled_sampling": 0.5}, "model": {"rollout": {"patch": 2}}},
        {"model": {"decoder": ALIGNED, "rollout": {"kind": "whole"}}},
    ],
)
def test_what_goes_together_loads(options):
    assert said(**options).decoding.method == "forecast"


TEXT = {
    "run": "run",
    "data": {"train": [{"file": "pairs.tsv"}], "held_out_dev": 0.1},
    "source": {"kind": "characters"},
    "target": {"kind": "characters"},
    "training": {"max_steps": 1},
}
SERIES = NUMBERS["data"]
ONE, OTHER = {"kind": "numbers"}, {"kind": "characters"}
SPEECH = {"kind": "speech"}
SOUNDS = {"train": [{"manifest": "clips.tsv"}], "held_out_dev": 0.1}
CTC = {"objective": {"kind": "ctc"}, "max_steps": 1}
NONE = {"decoder": {"kind": "none"}}
GREEDY = {"method": "ctc_greedy"}
SCORED = {"metrics": ["mase"]}


@pytest.mark.parametrize(
    ("base", "changes", "match"),
    [
        (TEXT, {"target": SPEECH}, "`target.kind: speech`: speech is read, not written; text or numbers"),
        (TEXT, {"source": SPEECH}, "`source.kind: speech` reads corpora with a `manifest`, found others"),
        (
            TEXT,
            {"data": SOUNDS},
            "`data` has a `manifest` of audio, but `source.kind` is characters; `speech`",
        ),
        (
            NUMBERS,
            {"data": SERIES | {"train": [*SERIES["train"], {"file": "more.tsv"}]}},
            "`data` mixes `series` with other corpora",
        ),
        (NUMBERS, {"source": OTHER}, "`data` has `series`, which need `source.kind: numbers` and"),
        (NUMBERS, {"data": SERIES | {"windows": None}}, "`data.windows` must say how they are cut"),
        (
            TEXT,
            {"data": TEXT["data"] | {"windows": SERIES["windows"]}},
            "`data.windows` has no effect without `series`",
        ),
        (NUMBERS, {"data": SERIES | {"held_out_test": 0.1}}, "series are split by time, not by chance"),
        (NUMBERS, {"source": ONE | {"season": 24}}, "`source.season` has no effect: `target.season`"),
        (
            NUMBERS,
            {"source": ONE | {"calendar": ["hour"]}},
            "`source.calendar` needs the times of every corpus",
        ),
        (
            NUMBERS,
            {"target": ONE | {"calendar": ["hour"]}},
            "`target.calendar` has no effect: `source.calendar`",
        ),
        (NUMBERS, {"target": ONE | {"missing": "zero"}}, "`target.missing: zero` has no effect"),
        (NUMBERS, {"evaluation": SCORED}, "`evaluation.metrics`: `mase` needs `target.season`"),
        (TEXT, {"evaluation": SCORED}, "`evaluation.metrics`: `mase` does not fit `target.kind: characters`"),
        (NUMBERS, {"evaluation": {"metrics": ["wer"]}}, "`wer` does not fit `target.kind: numbers`"),
        (
            TEXT,
            {"training": {"max_steps": 1, "objective": {"kind": "huber"}}},
            "`training.objective.kind: huber` does not fit `target.kind: characters`; cross_entropy or",
        ),
        (
            NUMBERS,
            {"training": CTC},
            "`training.objective.kind: ctc` does not fit `target.kind: numbers`; a loss of numbers",
        ),
        (
            NUMBERS,
            {"decoding": {"method": "beam"}},
            "`decoding.method: beam` does not fit `target.kind: numbers`; forecast would",
        ),
        (
            TEXT,
            {"decoding": {"method": "forecast"}},
            "`decoding.method: forecast` does not fit `target.kind: characters`; greedy, beam, sample or",
        ),
        (TEXT, {"model": NONE}, "`training.objective.kind: ctc` and `model.decoder.kind: none` go together"),
        (
            TEXT,
            {"training": CTC},
            "`training.objective.kind: ctc` and `model.decoder.kind: none` go together",
        ),
        (TEXT, {"target": {"kind": "nothing"}}, "`target.kind: nothing` leaves nothing to learn"),
        (
            TEXT,
            {"target": {"kind": "bytes"}, "data": {**TEXT["data"], "target_vocabulary": "runs/a"}},
            "`data.target_vocabulary` has no effect on `target.kind: bytes`, which learns none",
        ),
        (
            TEXT,
            {"joint_vocabulary": True, "data": {**TEXT["data"], "target_vocabulary": "runs/a"}},
            "`joint_vocabulary` and `data.target_vocabulary` do not go together",
        ),
        (TEXT, {"decoding": GREEDY}, "`decoding.method: ctc_greedy` needs a loss with CTC"),
        (
            TEXT,
            {"decoding": {"method": "beam", "ctc_weight": 0.3}},
            "`decoding.ctc_weight` needs `training.objective.ctc_weight`",
        ),
        (
            TEXT,
            {"training": CTC, "model": NONE},
            "`decoding.method: beam` needs a decoder; ctc_greedy or ctc_beam would do",
        ),
        (
            TEXT,
            {"training": CTC, "decoding": GREEDY, "model": NONE | {"tie": "decoder"}},
            "`model.tie: decoder` has no effect with `model.decoder.kind: none`",
        ),
        (
            TEXT,
            {"training": CTC, "decoding": GREEDY, "model": NONE | {"target_embedding_width": 9}},
            "`model.target_embedding_width` has no effect with `model.decoder.kind: none`",
        ),
        (
            TEXT,
            {"data": SOUNDS, "source": SPEECH, "joint_vocabulary": True},
            "`joint_vocabulary` is for text on both sides, found `source.kind: speech`",
        ),
        (TEXT, {"model": {"tie": "all"}}, "`model.tie: all` needs `joint_vocabulary: true`"),
        (TEXT, {"model": {"frontend": {}}}, "`model.frontend` has no effect on `source.kind: characters`"),
        (
            TEXT,
            {"model": {"rollout": {"kind": "whole"}}},
            "`model.rollout` has no effect on `target.kind: characters`",
        ),
        (
            TEXT,
            {"model": {"decoder": ALIGNED}, "decoding": {"method": "beam", "coverage_penalty": 0.2}},
            "`decoding.coverage_penalty` has no effect",
        ),
    ],
)
def test_sections_that_contradict_each_other_are_refused(base, changes, match):
    with pytest.raises(RecipeError, match=match):
        recipe_from(base | changes)


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (TEXT, {"training": CTC, "model": NONE, "decoding": GREEDY}),
        (TEXT, {"data": SOUNDS, "source": SPEECH, "model": {"frontend": {}}}),
        (
            TEXT,
            {
                "training": {"max_steps": 1, "objective": {"kind": "cross_entropy", "ctc_weight": 0.3}},
                "decoding": {"method": "beam", "ctc_weight": 0.5},
            },
        ),
        (
            NUMBERS,
            {
                "data": {
                    "train": [{"series": "made.csv", "time": "when"}],
                    "dev": {"series": "made.csv", "time": 0},
                    "windows": SERIES["windows"],
                },
                "source": ONE | {"calendar": ["hour"], "missing": "zero"},
                "target": ONE | {"season": 24},
                "evaluation": SCORED,
            },
        ),
    ],
)
def test_sections_that_agree_load(base, changes):
    assert recipe_from(base | changes).run.endswith("run")


def test_numbers_are_forecast_with_the_squared_error_by_default():
    said = {key: value for key, value in NUMBERS.items() if key != "decoding"}
    recipe = recipe_from(said | {"training": {"max_steps": 1}})
    assert recipe.decoding == Forecasting(method="forecast")
    assert recipe.training.objective == Squared(kind="squared")
    del said["training"]
    with pytest.raises(RecipeError, match="^training: missing$"):
        recipe_from(said)


def test_overrides_of_numbers_change_the_defaults_of_numbers(tmp_path):
    said = {key: value for key, value in NUMBERS.items() if key != "decoding"}
    path = tmp_path / "numbers.yaml"
    path.write_text(write_yaml(said | {"training": {"max_steps": 1}}), "utf-8")
    recipe = load_recipe(path, ["decoding.horizon=3", "training.objective.scheduled_sampling=0.5"])
    assert recipe.decoding == Forecasting(method="forecast", horizon=3)
    assert recipe.training.objective == Squared(kind="squared", scheduled_sampling=0.5)


ROWS = NUMBERS | {
    "data": {"train": [{"file": "pairs.tsv"}], "held_out_dev": 0.1},
    "decoding": {"method": "forecast", "horizon": 3},
}
SPOKEN = {"data": {"train": [{"manifest": "list.tsv"}], "held_out_dev": 0.1}, "source": {"kind": "speech"}}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"source": {"kind": "numbers", "scale": "series"}},
            "`source.scale: series` needs `series` in `data`",
        ),
        (
            {"source": {"kind": "words"}, "target": {"kind": "numbers", "scale": "window"}},
            "`target.scale: window` scales as a source in numbers does, found `source.kind: words`",
        ),
        ({"decoding": {"method": "forecast"}}, "`decoding.horizon` is missing"),
        (
            {"training": {"max_steps": 1, "pad_to": 8}},
            "`training.pad_to: 8` has no effect on `target.kind: numbers`",
        ),
        (
            {**SPOKEN, "evaluation": {"metrics": ["mase"]}},
            "`mase` measures by the past of a series, and `source.kind: speech` has none",
        ),
        ({"evaluation": {"metrics": ["mase"]}}, "`mase` needs `target.season`"),
        (
            {
                "target": {"kind": "numbers", "transform": "log"},
                "evaluation": {"metrics": [{"name": "mse", "units": "global"}]},
            },
            "`mse` in `units: global` divides by .* `target.transform: log` learns another; `data` would do",
        ),
    ],
)
def test_numbers_in_rows_lack_what_series_have(options, match):
    with pytest.raises(RecipeError, match=match):
        recipe_from(ROWS | options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        SPOKEN,
        {"source": {"kind": "words"}},
        {"source": {"kind": "numbers", "scale": "window"}, "target": {"kind": "numbers", "scale": "window"}},
        {"decoding": {"method": "forecast"}, "model": {"decoder": ALIGNED}},
        {"target": {"kind": "numbers", "season": 1}, "evaluation": {"metrics": ["mase", "mae"]}},
    ],
)
def test_numbers_in_rows_are_written_and_read(options):
    assert recipe_from(ROWS | options).data.windows is None


def test_published_units_are_of_each_column():
    apart = {"data": SERIES | {"train": [{**SERIES["train"][0], "apart": True}]}}
    scored = {"evaluation": {"metrics": [{"name": "mse", "units": "global"}]}}
    for scale in ("series", "window"):
        both = {side: {"kind": "numbers", "scale": scale} for side in ("source", "target")}
        assert recipe_from(NUMBERS | apart | both | scored).target.scale == scale
    assert recipe_from(NUMBERS | scored).target.scale == "global"
    with pytest.raises(
        RecipeError, match="`mse` .* `target.scale: global` there is one of all columns that `apart`"
    ):
        recipe_from(NUMBERS | apart | scored)


def guided(given=True, weight=0.5, train=None, **sections):
    corpus = {"source": "a", "target": "b", **({"alignment": "c"} if given else {})}
    return recipe_from(
        {
            "run": "run",
            "data": {"train": [train or corpus], "held_out_dev": 0.1},
            "source": {"kind": "words"},
            "target": {"kind": "words"},
            "training": {
                "max_steps": 1,
                "objective": {"kind": "cross_entropy", "guided_alignment": weight},
            },
            **sections,
        }
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"given": False}, "`training.objective.guided_alignment` needs `alignment` in `data.train`"),
        ({"weight": 0}, "`alignment` in `data.train` has no effect without `training.objective.guided_al"),
        (
            {"source": {"kind": "bpe", "sampling": 0.1}},
            "`source.sampling` cuts words anew, which `guided_alignment` cannot follow; 0 would do",
        ),
        (
            {"model": {"decoder": {"kind": "gru", "attention": {"kind": "none"}}}},
            "`training.objective.guided_alignment` needs a decoder that attends",
        ),
        (
            {"source": {"kind": "speech", "sample_rate_hz": 8000}},
            "guided_alignment` is for words, found `source.kind: speech`",
        ),
        (
            {"train": {"file": "a", "target": [1, 2], "alignment": 3}},
            r"`train\[0\].alignment` is of one target, found several",
        ),
        (
            {
                "data": {
                    "train": [{"file": "a", "alignment": 2}],
                    "dev": {"file": "a", "alignment": 2},
                }
            },
            "`dev.alignment` has no effect: only training learns from alignments",
        ),
    ],
)
def test_alignments_that_cannot_guide_are_refused(options, match):
    assert guided().training.objective.guided_alignment == 0.5
    with pytest.raises(RecipeError, match=match):
        guided(**options)


PAIRS = {
    "run": "run",
    "data": {"train": [{"source": "a", "target": "b"}], "held_out_dev": 0.1},
    "source": {"kind": "words"},
    "target": {"kind": "words"},
}


def learnt_by(options, **parts):
    objective = {"kind": "cross_entropy", **options}
    return recipe_from({**PAIRS, "model": parts, "training": {"max_steps": 1, "objective": objective}})


def test_two_passes_without_dropout_are_refused():
    dry, twice = {"kind": "gru", "dropout": 0.0}, {"r_drop": 1.0}
    match = "`training.objective.r_drop` has no effect without dropout in `model.encoder` or `model.decoder`"
    with pytest.raises(RecipeError, match=match):
        learnt_by(twice, encoder=dry, decoder=dry)
    assert learnt_by(twice, encoder=dry, decoder={"kind": "gru"}).training.objective.r_drop == 1
    dropped = {"kind": "transformer", "dropout": 0.0, "attention_dropout": 0.1}
    assert learnt_by(twice, encoder=dropped, decoder=dry).training.objective.r_drop == 1


def test_a_share_that_rises_must_be_there():
    match = "`sampling_warmup_steps` has no effect without `scheduled_sampling`"
    with pytest.raises(RecipeError, match=match):
        learnt_by({"sampling_warmup_steps": 9})
    with pytest.raises(RecipeError, match=match):
        said(objective={"kind": "squared", "sampling_warmup_steps": 9})
    risen = {"scheduled_sampling": 0.5, "sampling_warmup_steps": 9}
    assert learnt_by(risen).training.objective.sampling_warmup_steps == 9
    assert said(objective={"kind": "squared", **risen}).training.objective.scheduled_sampling == 0.5


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"weight": 1.0}, "a number of more than 0|below 1"),
        ({"samples": 1}, "a whole number of at least 2, found 1"),
        ({"sharpness": 0.0}, "a number above 0, found 0.0"),
        ({"cost": "ter"}, "cost"),
    ],
)
def test_minimum_risk_keeps_to_its_bounds(options, match):
    assert learnt_by({"minimum_risk": {}}).training.objective.minimum_risk.samples == 8
    with pytest.raises(RecipeError, match=match):
        learnt_by({"minimum_risk": options})
