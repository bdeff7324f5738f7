"""Codecs: raw values to tokens or frames and back, learnt from examples, saved with the weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from dragoman.data.nothing import NothingCodec, NothingLearner
from dragoman.data.number_codec import NumbersCodec, NumbersLearner, codec_from_json
from dragoman.data.speech import SpeechCodec, SpeechLearner
from dragoman.data.text import CODEC_FORMAT, TextCodec
from dragoman.data.text_learning import TextLearner, load_text_codec
from dragoman.errors import DataError, UserError
from dragoman.recipe.data import Codec as CodecSection
from dragoman.recipe.data import Nothing
from dragoman.recipe.sections import Recipe
from dragoman.recipe.series import Numbers
from dragoman.recipe.speech import Speech
from dragoman.records import Example, Port, Value

Codec = TextCodec | SpeechCodec | NumbersCodec | NothingCodec
"""Raw values to what a model takes, and back where it can be a target.

All of them have: `port`, all that a model knows of it; `normalise(value)`, what `decode` can give back of a
value; `encode(value, seed, source)`, ids that end with EOS or Frames, where a seed samples a segmentation and
`source` is the source of a target, for scales that depend on it; `save(folder)`. They raise DataError for a
value that they cannot take.
"""
_SECTION: TypeAdapter[CodecSection] = TypeAdapter(CodecSection)
Learner = TextLearner | SpeechLearner | NumbersLearner | NothingLearner
"""Hears values one by one (`hear`) and becomes a codec (`learnt`)."""


@dataclass(frozen=True)
class Codecs:
    """The codecs of both sides; one object twice where the vocabulary is joint."""

    source: Codec
    target: Codec

    @property
    def text(self) -> TextCodec:
        """The target's codec where it is text; UserError where it is not."""
        if isinstance(self.target, TextCodec):
            return self.target
        raise UserError(f"this needs targets of text, found {self.target.section.kind}")


def ports_of(recipe: Recipe, codecs: Codecs) -> tuple[Port, Port]:
    """Return what a model knows of both codecs; windows of series all have the same numbers of steps."""
    source, target, windows = codecs.source.port, codecs.target.port, recipe.data.windows
    if windows is None:
        return source, target
    return replace(source, steps=windows.context), replace(target, steps=windows.horizon)


def codec_digest(codec: Codec) -> str:
    """Return a hash of all that a codec would leave in a bundle."""
    digest = hashlib.sha256()
    with TemporaryDirectory() as folder:
        codec.save(Path(folder))
        for path in sorted(Path(folder).iterdir()):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _silent(message: str) -> None:
    """Hear nothing."""


def learn_codecs(
    recipe: Recipe, examples: Callable[[], Iterable[Example]], say: Callable[[str], None] = _silent
) -> Codecs:
    """Learn the codecs of a recipe from examples, in one pass and in memory that does not grow with them.

    The target's is that of another run where the recipe names one. `say` hears where a vocabulary comes out
    smaller than the recipe wants it.
    """
    given = given_target(recipe)
    if given is not None:
        values = (example.source for example in examples())
        return Codecs(learn_codec(recipe.source, values, "source", say), given)
    source = learner_of(recipe.source, "source", say)
    target = source if recipe.joint_vocabulary else learner_of(recipe.target, "target", say)
    for example in examples():
        source.hear(example.source)
        for value in example.targets:
            target.hear(value)
    learnt = source.learnt()
    return Codecs(learnt, learnt if target is source else target.learnt())


def given_target(recipe: Recipe) -> Codec | None:
    """Return the target's codec of the run that `data.target_vocabulary` names, if it names one.

    DataError where it is not there, or the recipe says something else of the target.
    """
    if recipe.data.target_vocabulary is None:
        return None
    folder = Path(recipe.data.target_vocabulary)
    found = load_codec(folder / "codecs" / "target")
    if found.section != recipe.target:
        said = json.dumps(found.section.model_dump(mode="json"), ensure_ascii=False)
        raise DataError(
            f"data.target_vocabulary: the target of {folder} was made with another section; expected "
            f"`target` to say the same here: {said}"
        )
    return found


def learn_codec(
    section: CodecSection,
    values: Iterable[Value],
    side: Literal["source", "target"],
    say: Callable[[str], None] = _silent,
) -> Codec:
    """Learn one codec from raw values, but those it cannot take; `side` names its section in messages."""
    learner = learner_of(section, side, say)
    for value in values:
        learner.hear(value)
    return learner.learnt()


def learner_of(
    section: CodecSection, side: Literal["source", "target"], say: Callable[[str], None] = _silent
) -> Learner:
    """Choose what learns the codec of a section."""
    match section:
        case Speech():
            return SpeechLearner(section)
        case Numbers():
            return NumbersLearner(section, side)
        case Nothing():
            return NothingLearner(section)
        case _:
            return TextLearner(section, side, say)


def load_codec(folder: Path) -> Codec:
    """Read what `save` wrote; DataError if it is not there or is something else."""
    path = folder / "codec.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a codec: {error}") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != CODEC_FORMAT:
        raise DataError(f"{path}: expected a codec of format {CODEC_FORMAT}, found {found!r}")
    try:
        # Through JSON, where a list stands for a tuple.
        section = _SECTION.validate_json(json.dumps(content["codec"]))
        match section:
            case Speech():
                return SpeechCodec.load(section, content)
            case Numbers():
                return codec_from_json(content)
            case Nothing():
                return NothingCodec(section)
            case _:
                return load_text_codec(section, content, folder)
    except (KeyError, OSError, TypeError, ValueError, ValidationError, DataError) as error:
        raise DataError(f"{path}: not a complete codec: {error}") from error
