"""Recipes of every shape, made from the sections' own annotations: written and read back, and misspelt."""

import json
import random
from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args, get_origin

import annotated_types
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from dragoman.errors import RecipeError
from dragoman.recipe.anatomy import RECIPE, Choice, Items, keys_by_name, members, node_at
from dragoman.recipe.loading import dump_recipe, load_recipe, override, recipe_from
from dragoman.recipe.yaml_reader import read_yaml
from dragoman.recipe.yaml_writer import write_yaml

TEXTS = [
    *("no", "Y", "1e-4", "~", "0x1F", "12:30", "a: b", "# x", " x ", "-", "null", "=", "<<", "{}", "%", "@x"),
    *(
        "\u2028",
        "\x85\x7f",
        "é\t😀",
        "'\"\\",
        "\ufeff",
        "a\nb",
        "word",
        "1_000",
        "2024-01-01",
        ".",
        "x" * 200,
    ),
]
# Where values could contradict others; all else is drawn from the bounds of its field.
CHOSEN = {
    "run": ["/runs/x"],
    "folder": ["/data"],
    "cache": [None, "/cache"],
    "target_vocabulary": [None],
    "held_out_dev": [0.05, 0.1],
    "held_out_test": [0.0, 0.3],
    "joint_vocabulary": [False],
    "tie": ["none", "decoder"],
    "width": [32, 64],
    "heads": [1, 2, 4],
    "kernel_width": [3, 15],
    "max_positions": [None],
    "input_feeding": [False],
    "nesterov": [False],
    "steps": [None],
    "max_steps": [1, 10**9],
    "watch": ["loss"],
    "min_length": [0, 9],
    "max_length": [10, 10**20],
    "nbest": [1],
    "coverage_penalty": [0.0],
    "tokenize": ["13a", "none"],
    "language": [None],
    "alignment": [None],
    "guided_alignment": [0.0],
    "sampling_warmup_steps": [0],
}


TEXT = ["bpe", "bytes", "characters", "unigram", "words"]
CORPORA = {
    "text": ["parallel", "table"],
    "numbers": ["parallel", "table"],
    "speech": ["manifest"],
    "series": ["series"],
}
# A Kaldi folder, or rows of a list, has columns that nobody needs to name.
MANIFESTS = [
    {"format": ["auto", "tsv", "csv", "jsonl"]},
    {"format": ["nemo", "common_voice"], "audio": [None], "begin": [None], "duration": [None]},
    {
        **{"format": ["kaldi"], "audio": [None], "begin": [None], "duration": [None]},
        **{f"{corpus}.target": [None] for corpus in ("train", "dev", "test")},
    },
]
COLUMNS = {"id": [None], "time": [None], "values": [None], "known": [None], "apart": [True, False]}
NAMED = {"time": ["when", 1], "values": [None, 2, ["no", 3]], "known": [None, "~", [5, "1e-4"]]}
LAYOUTS = [
    COLUMNS | NAMED | {"format": ["long"], "id": [0, "name"]},
    COLUMNS | NAMED | {"format": ["wide"]},
    COLUMNS | NAMED | {"format": ["parquet"], "id": [None, 0]},
    COLUMNS | {"format": ["auto"], "id": [None, "name"]},
    COLUMNS | {"format": ["npy"], "values": [None, 0, [0, 7]]},
    COLUMNS | {"format": ["rows"], "apart": [False]},
]
PARTS = [[None, None], [None, -10], [-10, None], [5, "2016-07-01"], ["2016-07-01", "2016-07-01 12:00"]]
SOUND = {
    "sample_rate_hz": [8000, 16000, 44100],
    "mel_bins": [3, 23],
    "window_seconds": [0.025, 0.05],
    "hop_seconds": [0.01, 0.0125],
    "low_hz": [0.0, 64],
    "high_hz": [None, 3900.0],
    "min_seconds": [0.1, 0.5],
    "max_seconds": [1, 1e6],
    "speeds": [[1.0], [0.9, 1.0, 1.1], [2.0, 1]],
}
DRAWN = {"decoding.samples": [2, 99], "decoding.candidates": [None, 1, 2]}
ALIKE = {"groups": [1], "diversity": [0.0]}
DIVERSE = {"groups": [2, 3], "diversity": [0.5, 7], "beam": [6, 12]}
WINDOWS = {"source.scale": ["window", "level"], "target.scale": ["window"]}
UNMASKED = {
    **{"frequency_masks": [0], "frequency_mask_bins": [27]},
    **{"time_masks": [0], "time_mask_seconds": [1.0], "time_mask_share": [0.2]},
}
MASKED = {"frequency_masks": [0, 1, 9], "frequency_mask_bins": [27], "mel_bins": [27, 30], "time_masks": [2]}


@dataclass
class Road:
    """What goes together in one recipe: kinds of sections, and values where fields depend on each other.

    Places are `key`, or `section.key` where sections differ.
    """

    kinds: dict[str, list[str]] = field(default_factory=dict)
    chosen: dict[str, list[object]] = field(default_factory=lambda: dict(CHOSEN))
    always: set[str] = field(default_factory=lambda: {"max_steps"})
    never: set[str] = field(default_factory=set)

    def must(self, **kinds):
        """Allow these kinds only, which differ from those of a recipe that does not say them."""
        self.kinds |= kinds
        self.always |= kinds.keys()


def road(pick):
    """Choose what is read and what is written, and all that follows from it."""
    found = Road()
    reads = pick.choice(sorted(CORPORA))
    found.kinds |= dict.fromkeys(("train", "dev", "test"), CORPORA[reads])
    found.kinds["source"] = {"text": [*TEXT, "nothing"], "speech": ["speech"]}.get(reads, ["numbers"])
    found.chosen |= {"dev.weight": [1.0], "test.weight": [1.0], "train.merge": [False]}
    match reads:
        case "text":
            found.never |= {"frontend"}
        case "speech":
            found.chosen |= SOUND | pick.choice(MANIFESTS) | pick.choice([UNMASKED, MASKED])
            found.always |= {"frequency_masks", "mel_bins", "time_masks"}
        case "numbers":
            found.chosen |= {"source.scale": ["none", "global", "window"]}
        case "series":
            found.chosen |= pick.choice(LAYOUTS) | {"part": PARTS, "series": ["a.csv", ["a.csv", "b.csv"]]}
            found.always |= {"windows", "time", "id", "format"}
    found.chosen |= pick.choice([{"centre": ["mean"]}, WINDOWS])
    found.always |= {"scale"}
    is_split = reads == "series" or pick.random() < 0.5
    found.always |= {"dev"} if is_split else {"held_out_dev"}
    found.never |= {"held_out_dev", "held_out_test"} if is_split else {"dev", "test"}
    has_times = found.chosen.get("time", [None]) != [None]
    found.chosen["calendar"] = [[], ["hour"], ["yearday", "minute"]] if has_times else [[]]
    found.never |= {"source.season"} | (set() if reads == "series" else {"windows"})
    convolutions = pick.randint(1, 3)
    found.chosen |= {"kernels": [[16] * convolutions], "strides": [[1] * convolutions, [16] * convolutions]}
    found.always |= {"kernels", "strides"}
    if reads == "series" or pick.random() < 0.2:
        write_numbers(pick, found)
        if reads != "series":
            write_numbers_in_rows(found, reads)
    else:
        write_text(pick, found)
    return found


def write_text(pick, found):
    found.kinds |= {"target": TEXT, "metrics": ["bleu", "chrf", "ter", "exact_match", "cer", "wer", "rougeL"]}
    found.never |= {"rollout"}
    if pick.random() < 0.3:
        found.kinds["target"] = ["bpe", "characters", "unigram", "words"]  # bytes need not be learnt
        found.chosen["target_vocabulary"] = ["/runs/y"]
    found.chosen |= pick.choice([ALIKE, DIVERSE]) | DRAWN
    found.always |= {"groups", "diversity", "beam"}
    found.never |= {"phrases"} if found.chosen["groups"] != [1] else set()
    said, unsaid = pick.sample(["must", "never"], 2)
    found.always |= {said}
    found.never |= {f"terms.{unsaid}"}
    found.chosen[f"terms.{said}"] = TEXTS
    match pick.choice(["attention", "both", "ctc"]):
        case "attention":
            found.kinds |= {"objective": ["cross_entropy"], "decoder": ["gru", "lstm", "rnn", "transformer"]}
            found.kinds["decoding"] = ["beam", "greedy", "mbr", "sample"]
            found.chosen["ctc_weight"] = [0.0]
        case "both":
            found.kinds |= {"decoder": ["gru", "lstm", "rnn", "transformer"]}
            found.must(objective=["cross_entropy"])
            found.kinds["decoding"] = ["beam", "ctc_beam", "ctc_greedy", "greedy", "mbr", "sample"]
            found.chosen |= {"objective.ctc_weight": [0.3, 0.99]}
            found.always |= {"ctc_weight"}
        case "ctc":
            found.must(objective=["ctc"], decoder=["none"], decoding=["ctc_beam", "ctc_greedy"])
            found.always |= {"model"}
            found.never |= {"tie", "target_embedding_width"}


def write_numbers(pick, found):
    found.kinds |= {"target": ["numbers"], "metrics": ["crps", "mae", "mase", "mse", "smape"]}
    found.kinds |= {"decoding": ["forecast"], "decoder": ["gru", "lstm", "rnn", "transformer"]}
    found.never |= {"tie", "target.calendar", "target.missing"}
    found.chosen |= {"pad_to": ["auto", 1]}
    found.always |= {"season"}
    found.chosen |= {"season": [1, 10**9]}  # MASE needs one
    found.chosen |= {"ridge": [0.1], "ridge_growth": [0.0], "lines": [1], "levels": [[0.5], [0.1, 0.5, 0.9]]}
    found.chosen |= {"samples": [0], "quantiles": [[]]}
    if pick.random() < 0.5:
        found.chosen["target.transform"] = ["none"]
    else:
        found.chosen["units"] = ["data"]
    match pick.choice(["distance", "quantile", "likelihood"]):
        case "distance":
            found.kinds["objective"] = ["absolute", "huber", "squared"]
        case "quantile":
            found.must(objective=["quantile"])
            found.chosen["quantiles"] = [[], [0.5]]
        case "likelihood":
            found.must(objective=["gaussian", "student_t"])
            found.chosen |= {"samples": [1, 100], "quantiles": [[], [0.1, 0.77]]}
            found.always |= {"samples"}
    if pick.random() < 0.5:
        found.chosen["scheduled_sampling"] = [0.0]
    else:
        found.chosen["rollout.kind"] = ["steps"]
    if pick.random() < 0.5:
        found.chosen["patch"] = [1]
    else:
        found.kinds["attention"] = ["additive", "dot", "general", "location", "none", "scaled_dot"]


def write_numbers_in_rows(found, reads):
    """Without windows a horizon must be said; only sources in numbers have a scale and a past."""
    found.must(decoding=["forecast"])
    found.always |= {"horizon"}
    found.chosen |= {"horizon": [1, 96], "target.scale": ["none", "global"], "target.centre": ["mean"]}
    if reads == "numbers":
        found.chosen["target.scale"] = ["none", "global", "window"]
    else:
        found.kinds["metrics"] = ["crps", "mae", "mse", "smape"]


def section(pick, choice: Choice, way: Road, place: str = "") -> dict[str, object]:
    """A section of any kind that the road has: its required keys and some of the others."""
    kind = pick.choice(way.kinds.get(place, sorted(choice.sections)))
    owner = choice.sections[kind]
    said: dict[str, object] = {}
    for key, about in owner.model_fields.items():
        if key == choice.key and about.is_required():
            said[key] = kind
        elif {key, f"{place}.{key}"} & way.never:
            continue
        elif about.is_required() or key in way.always or pick.random() < 0.5:
            values = way.chosen.get(f"{place}.{key}", way.chosen.get(key))
            said[key] = value(pick, owner, key, way) if values is None else pick.choice(values)
    return said


def drawn(pick):
    """What a person could write, on any road."""
    return section(pick, RECIPE, road(pick))


def value(pick, owner, key, way):
    about = owner.model_fields[key]
    match node_at(owner, key):
        case Choice() as choice:
            is_left_out = about.default is None and key not in way.always and pick.random() < 0.5
            return None if is_left_out else section(pick, choice, way, key)
        case Items(of=choice) if key == "metrics":
            metrics = [section(pick, choice, way, key) for _ in range(pick.randrange(3))]
            return [
                {**metric, "label": f"{index}{pick.choice(TEXTS)}"} for index, metric in enumerate(metrics)
            ]
        case Items(of=choice):
            return [section(pick, choice, way, key) for _ in range(pick.randint(1, 2))]
    return leaf(pick, about.annotation, about.metadata)


def leaf(pick, annotation, notes=()):
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return leaf(pick, inner, [*more, *notes])
    if members(annotation) != (annotation,):
        part = pick.choice(get_args(annotation))
        return (
            None if part is type(None) else leaf(pick, part, notes if len(members(annotation)) == 1 else ())
        )
    if get_origin(annotation) is Literal:
        return pick.choice(get_args(annotation))
    if get_origin(annotation) is tuple:
        return [leaf(pick, get_args(annotation)[0]) for _ in range(pick.randrange(3))]
    if annotation is str:
        return pick.choice(TEXTS)
    if annotation is bool:
        return pick.random() < 0.5
    low, high = bounds(notes)
    return pick.randint(low, high) if annotation is int else number(pick, low, high)


def bounds(notes):
    low, high = 0, 10**9
    for note in notes:
        match note:
            case FieldInfo():
                low, high = bounds(note.metadata)
            case annotated_types.Ge(bound) | annotated_types.Gt(bound):
                low = bound
            case annotated_types.Le(bound) | annotated_types.Lt(bound):
                high = bound
    return low, high


def number(pick, low, high):
    """A float strictly between, of any size and with all its digits."""
    found = pick.choice([pick.uniform(low, high), low + (high - low) * 10 ** pick.uniform(-12, -1)])
    return found if low < found < high else (low + high) / 2


seeds = given(st.integers(0, 10**9).map(random.Random))


@settings(max_examples=60, deadline=None, derandomize=True)
@seeds
def test_a_written_recipe_loads_as_it_was(tmp_path_factory, pick):
    recipe = recipe_from(drawn(pick))
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    written = dump_recipe(recipe)
    path.write_text(written, encoding="utf-8")
    loaded = load_recipe(path)
    assert loaded == recipe
    assert dump_recipe(loaded) == written
    assert override(loaded, []) == override(recipe, []) == recipe
    assert recipe_from(json.loads(recipe.model_dump_json())) == recipe


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.dictionaries(
        st.text(max_size=5) | st.sampled_from(TEXTS),
        st.none()
        | st.booleans()
        | st.integers(-(10**30), 10**30)
        | st.floats(allow_nan=False)
        | st.text(max_size=8)
        | st.sampled_from(TEXTS),
        max_size=5,
    )
)
def test_all_readers_of_yaml_agree_on_what_is_written(mapping):
    whole = {"a": mapping, "b": [mapping, {"c": []}, {"d": {}}], "e": list(mapping.values()), "f": {}}
    written = write_yaml(whole)
    read = read_yaml(written)
    assert repr(read.value) == repr(whole)
    assert not read.faults
    assert repr(yaml.safe_load(written)) == repr(whole)


def test_writing_refuses_what_yaml_cannot_hold():
    with pytest.raises(TypeError, match="cannot write object as YAML"):
        write_yaml({"a": object()})


def test_a_written_recipe_is_for_people(small):
    small["evaluation"] = {"metrics": ["cer"]}
    written = dump_recipe(recipe_from(small, "/data"))
    assert written.startswith(
        "version: 1\nrun: /runs/small\nseed: 1\ndata:\n  folder: /data\n"
        "  train:\n    - source: a.source\n      target: a.target\n      alignment: null\n"
        "      weight: 1.0\n"
    )
    assert "\nsource:\n  kind: characters\n  unicode: NFC\n" in written
    assert "\n    epsilon: 1.0e-09\n" in written
    assert "\n  metrics:\n    - name: cer\n      label: cer\n" in written


def places_of(mapping, path=()):
    for key, inner in mapping.items():
        yield (*path, key)
        match inner:
            case dict():
                yield from places_of(inner, (*path, key))
            case list():
                for index, item in enumerate(inner):
                    if isinstance(item, dict):
                        yield from places_of(item, (*path, key, index))


def misspelt(pick, key):
    """One slip of the fingers in a word."""
    at = pick.randrange(len(key) - 1)
    left, here, there, right = key[:at], key[at], key[at + 1], key[at + 2 :]
    letter = pick.choice("abcdefghijklmnopqrstuvwxyz")
    return pick.choice(
        [
            left + there + right,
            left + there + here + right,
            left + letter + there + right,
            left + here + here + there + right,
        ]
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@seeds
def test_a_misspelt_key_is_always_refused_with_a_suggestion(tmp_path_factory, pick):
    said = drawn(pick)
    *above, key = pick.choice(list(places_of(said)))
    wrong = misspelt(pick, key)
    if wrong in keys_by_name():
        return
    holder = said
    for step in above:
        holder = holder[step]
    holder[wrong] = holder.pop(key)
    path = tmp_path_factory.getbasetemp() / "misspelt.yaml"
    written = write_yaml(said)
    path.write_text(written, encoding="utf-8")
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    (line,) = [line for line in error.value.complaints if f"{wrong}: unknown key" in line]
    assert "\n" not in "".join(error.value.complaints)
    number = int(line.removeprefix(f"{path}:").split(":")[0])
    assert written.splitlines()[number - 1].lstrip(" -").startswith(f"{wrong}:")
    if len(key) > 3:
        assert f"'{key}'" in line.partition("did you mean")[2]
        assert not any(f"{key}: missing" in other for other in error.value.complaints)
    else:
        assert "did you mean" in line or "known here" in line
