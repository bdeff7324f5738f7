"""What a person may have meant by a key or a word that a recipe does not know."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

from dragoman.recipe.anatomy import keys_by_name

# What fairseq, OpenNMT, JoeyNMT, Sockeye, Marian, transformers and yoyodyne call the same things.
_ELSEWHERE_CALLED = {
    "lr": "learning_rate",
    "src": "source",
    "tgt": "target",
    "trg": "target",
    "epochs": "max_epochs",
    "steps": "max_steps",
    "max_updates": "max_steps",
    "train_steps": "max_steps",
    "batch_size": "batch_tokens",
    "max_tokens": "batch_tokens",
    "update_freq": "accumulate",
    "accum_count": "accumulate",
    "clip_grad_norm": "clip_norm",
    "max_grad_norm": "clip_norm",
    "gradient_clip_val": "clip_norm",
    "warmup": "warmup_steps",
    "warmup_updates": "warmup_steps",
    "patience": "early_stopping",
    "scheduler": "schedule",
    "loss": "objective",
    "optim": "optimizer",
    "beam_size": "beam",
    "beam_width": "beam",
    "num_beams": "beam",
    "n_best": "nbest",
    "lenpen": "length_penalty",
    "alpha": "length_penalty",
    "num_layers": "layers",
    "enc_layers": "layers",
    "num_heads": "heads",
    "attention_heads": "heads",
    "hidden_size": "width",
    "hidden_dim": "width",
    "d_model": "width",
    "embedding_size": "width",
    "ff_size": "feedforward_width",
    "ffn_dim": "feedforward_width",
    "dim_feedforward": "feedforward_width",
    "tied_embeddings": "tie",
    "share_vocab": "joint_vocabulary",
    "vocab_size": "size",
    "max_len": "max_length",
    "valid": "dev",
    "validation": "dev",
    "lower": "lowercase",
    "output": "run",
    "model_dir": "run",
    "random_seed": "seed",
    "fp16": "precision",
    "keep_last_ckpts": "keep_checkpoints",
}
_TIE = 0.05
"""Words whose likeness differs by less are equally likely: `eecoder` is `encoder` or `decoder`."""
_MOST = 3
"""A suggestion of more places than this helps nobody."""


def nearest(word: str, known: Iterable[str], least: float = 0.6) -> str | None:
    """Find the known word that looks most like this one, if any looks at all like it."""
    return next(iter(get_close_matches(_tidy(word), list(known), 1, least)), None)


def meant(key: str, known: Iterable[str], section: str) -> tuple[str, ...]:
    """Find keys that an unknown key of the section at a dotted place may stand for, likeliest first.

    A key of the section itself comes as its name, one further inside as the rest of its path, another as
    its whole path.
    """
    own = list(known)
    if near := _nearest_ones(key, own):
        return near
    name = key if key in keys_by_name() else nearest(key, keys_by_name(), 0.85)
    if name and (places := _places(name, section)):
        return places
    if alias := nearest(key, _ELSEWHERE_CALLED, 0.75):
        name = _ELSEWHERE_CALLED[alias]
        if name in own:
            return (name,)
        if places := _places(name, section):
            return places
    far = nearest(key, own, 0.5)
    return (far,) if far else ()


def _nearest_ones(key: str, own: list[str]) -> tuple[str, ...]:
    near = get_close_matches(_tidy(key), own, 2, 0.75)
    likeness = [SequenceMatcher(None, name, _tidy(key)).ratio() for name in near]
    return tuple(name for name, ratio in zip(near, likeness, strict=True) if ratio > likeness[0] - _TIE)


def _tidy(word: str) -> str:
    return word.strip().lower().replace("-", "_")


def _places(name: str, section: str) -> tuple[str, ...]:
    places = keys_by_name()[name]
    inside = tuple(
        place[len(section) + 1 :] for place in places if section and place.startswith(f"{section}.")
    )
    found = inside or places
    return found if len(found) <= _MOST else ()
