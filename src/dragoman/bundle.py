"""A bundle: recipe, codecs and weights in one folder, all that every verb but training needs.

    recipe.yaml  codecs/source/  codecs/target/  weights.safetensors  metrics.json  sample.jsonl  README.md
    MANIFEST.json     format, version of dragoman, size and SHA-256 of every file above, and of itself

A run folder holds a bundle beside its checkpoints and logs; only what is named above belongs to the bundle.
Nothing in a bundle is executed: text, JSON, YAML without tags, a SentencePiece model and safetensors.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from dragoman import __version__
from dragoman.data.codec import Codecs, load_codec, ports_of
from dragoman.errors import BundleError, DataError, RecipeError, UserError
from dragoman.model.build import build_model
from dragoman.model.seq2seq import Seq2Seq
from dragoman.recipe.card import model_card
from dragoman.recipe.loading import dump_recipe, load_recipe
from dragoman.recipe.sections import Recipe
from dragoman.records import Port

FORMAT = 1
"""Version of the layout of a bundle."""
MANIFEST = "MANIFEST.json"
WEIGHTS = "weights.safetensors"
SAMPLE = "sample.jsonl"
METRICS = "metrics.json"
RECIPE = "recipe.yaml"
CARD = "README.md"
CODECS = "codecs"
_NEEDED = (RECIPE, WEIGHTS, METRICS, SAMPLE, CARD, "codecs/source/codec.json", "codecs/target/codec.json")
_STAGE = ".bundle.partial"

_MAX_MANIFEST_BYTES = 1 << 20
_MAX_FILES = 256
_MAX_WEIGHTS_BYTES = 64 << 30
_MAX_FILE_BYTES = 1 << 30  # all but the weights; a word list of ten million entries is far below
_MAX_HEADER_BYTES = (
    16 << 20
)  # of safetensors: a hundred bytes a tensor, so far more tensors than any model has
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


@dataclass(frozen=True)
class Bundle:
    """What training leaves: a recipe, two codecs and a model; `folder` is where it lies, if on a disk.

    `others` are bundles of numbers that forecast with this one; see `mean_forecast`.
    """

    recipe: Recipe
    codecs: Codecs
    model: Seq2Seq
    folder: Path | None = None
    others: tuple[Bundle, ...] = ()

    @property
    def device(self) -> torch.device:
        """The device that the model's weights are on."""
        return next(self.model.parameters()).device


# --- saving


def save_bundle(
    bundle: Bundle,
    folder: Path,
    metrics: Mapping[str, object],
    sample: Sequence[Mapping[str, object]],
    facts: Mapping[str, object],
) -> None:
    """Write a bundle into a folder, replacing the one that is there, and leaving other files alone.

    All files are written aside and flushed first; the old manifest goes before the first file moves and the
    new one comes last, so a crash leaves the old bundle, the new one, or none that verifies. `metrics` go to
    metrics.json and the card, `facts` of the training to the card, `sample` to sample.jsonl (self-test).
    """
    stage = folder / _STAGE
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    try:
        _write_files(bundle, stage, metrics, sample, facts)
        names = _names_in(stage)
        for name in names:
            _flush(stage / name)
        _write(stage / MANIFEST, _manifest({name: _entry(stage / name) for name in names}))
        _flush(stage / MANIFEST)
        _publish(stage, folder, names)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _write_files(
    bundle: Bundle,
    stage: Path,
    metrics: Mapping[str, object],
    sample: Sequence[Mapping[str, object]],
    facts: Mapping[str, object],
) -> None:
    weights = {
        name: tensor.detach().to("cpu", torch.float32).contiguous()
        for name, tensor in _untied(bundle.model).items()
    }
    save_file(weights, stage / WEIGHTS)
    _write(stage / RECIPE, dump_recipe(bundle.recipe))
    (stage / WEIGHTS).chmod((stage / RECIPE).stat().st_mode)  # safetensors lets nobody else read them
    for side, codec in (("source", bundle.codecs.source), ("target", bundle.codecs.target)):
        (stage / CODECS / side).mkdir(parents=True)
        codec.save(stage / CODECS / side)
    _write(stage / METRICS, json.dumps(metrics, indent=2, ensure_ascii=False, default=str) + "\n")
    _write(stage / SAMPLE, "".join(json_line(row) for row in sample))
    parameters = sum(tensor.numel() for tensor in weights.values())
    _write(stage / CARD, model_card(bundle.recipe, parameters, metrics, facts))


def json_line(row: Mapping[str, object]) -> str:
    """Write an object on one line, for every reader's idea of a line: Unicode's own line ends are escaped."""
    text = json.dumps(row, ensure_ascii=False, default=str)
    return re.sub("[\\x85\\u2028\\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def _publish(stage: Path, folder: Path, names: Sequence[str]) -> None:
    (folder / MANIFEST).unlink(missing_ok=True)
    _flush(folder)
    shutil.rmtree(folder / CODECS, ignore_errors=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).replace(folder / name)
    for touched in (folder / CODECS / "source", folder / CODECS / "target", folder / CODECS, folder):
        _flush(touched)
    (stage / MANIFEST).replace(folder / MANIFEST)
    _flush(folder)


def _untied(model: torch.nn.Module) -> dict[str, Tensor]:
    """Name each tensor of a model once; a tied one is one object under several names."""
    seen: dict[int, str] = {}
    state = model.state_dict(keep_vars=True)
    return {name: tensor for name, tensor in state.items() if seen.setdefault(id(tensor), name) == name}


def _manifest(files: Mapping[str, Mapping[str, object]]) -> str:
    return _sealed({"format": FORMAT, "dragoman": __version__, "files": dict(sorted(files.items()))})


def _sealed(content: Mapping[str, object]) -> str:
    """Write a manifest in the one accepted form, its own hash included, so that no byte can change."""
    seal = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({**content, "sha256": seal}, indent=2) + "\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _flush(path: Path) -> None:
    """Ask the disk to hold a file or the entries of a folder."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open folders; it keeps renames in its journal
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def _entry(path: Path) -> dict[str, object]:
    return {"size": path.stat().st_size, "sha256": _hash(path)}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- loading


def load_bundle(folder: str | Path, device: Literal["auto", "cpu", "cuda"] = "auto") -> Bundle:
    """Verify and load a bundle, ready for decoding (`eval` mode, float32), on a GPU where there is one.

    Raises BundleError for what is not as it was saved: missing, changed, added, foreign or too large files.
    Memory is bounded by the size of the files; nothing is executed.
    """
    where = Path(folder)
    complaints = verify_bundle(where)
    if complaints:
        raise BundleError("\n".join(complaints))
    try:
        recipe = load_recipe(where / RECIPE)
        codecs = Codecs(load_codec(where / CODECS / "source"), load_codec(where / CODECS / "target"))
        model = _load_model(recipe, codecs, where / WEIGHTS)
    except (RecipeError, DataError, OSError, RecursionError) as fault:
        raise BundleError(
            f"{where}: the bundle's recipe, codecs or weights cannot be read: {fault}"
        ) from fault
    return Bundle(recipe, codecs, model.to(_device(device)).eval(), where)


def verify_bundle(folder: str | Path) -> list[str]:
    """Return what differs from the bundle as it was saved, a line a fault: file, expected, found."""
    where = Path(folder)
    try:
        files = _read_manifest(where)
    except BundleError as fault:
        return [str(fault)]
    complaints = [
        f"{where / name}: expected a file of the bundle, found none in {MANIFEST}"
        for name in _NEEDED
        if name not in files
    ]
    present = _names_in(where / CODECS) if (where / CODECS).is_dir() else []
    complaints += [
        f"{where / CODECS / name}: expected only files that {MANIFEST} lists, found this one beside them"
        for name in present
        if f"{CODECS}/{name}" not in files
    ]
    for name, (size, digest) in files.items():
        complaint = _differs(where, name, size, digest)
        complaints += [complaint] if complaint else []
    return complaints


def _read_manifest(where: Path) -> dict[str, tuple[int, str]]:
    path = where / MANIFEST
    if not where.is_dir():
        raise BundleError(
            f"{where}: expected the folder of a bundle, found {'a file' if where.exists() else 'nothing'}"
        )
    if not path.is_file():
        raise BundleError(_without_manifest(where))
    _refuse_outside(where, path)
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise BundleError(
            f"{path}: expected at most {_MAX_MANIFEST_BYTES:,} bytes, found {path.stat().st_size:,}"
        )
    raw = path.read_bytes()
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as fault:
        raise BundleError(f"{path}: expected JSON, found something else: {fault}") from fault
    if not isinstance(content, dict):
        raise BundleError(f"{path}: expected a JSON object, found a {type(content).__name__}")
    if content.get("format") != FORMAT or isinstance(content["format"], bool):
        raise BundleError(
            f"{path}: expected format {FORMAT}, found {content.get('format')!r:.40}; "
            f"a bundle of a newer dragoman needs that version (this is {__version__})"
        )
    body = {key: value for key, value in content.items() if key != "sha256"}
    if _sealed(body).encode() != raw:
        raise BundleError(f"{path}: expected the manifest as it was saved, found it changed or truncated")
    return _checked_files(path, body.get("files"))


def _without_manifest(where: Path) -> str:
    if (where / "checkpoints").is_dir():
        return (
            f"{where} holds checkpoints but no finished bundle: continue with `dragoman train` and its recipe"
        )
    if (where / _STAGE).is_dir():
        return f"{where}: saving the bundle was cut short; expected {MANIFEST}, found none"
    return f"{where}: expected a bundle with {MANIFEST}, found none; is this the folder of a run?"


def _checked_files(path: Path, files: object) -> dict[str, tuple[int, str]]:
    if not isinstance(files, dict) or len(files) > _MAX_FILES:
        raise BundleError(f"{path}: expected a list of at most {_MAX_FILES} files in `files`")
    checked = {}
    for name, entry in files.items():
        if not _NAME.fullmatch(name):
            raise BundleError(f"{path}: expected names of files inside the bundle, found {name!r:.80}")
        match entry:
            case {"size": int(size), "sha256": str(digest)} if size >= 0:
                checked[name] = (size, digest)
            case _:
                raise BundleError(f"{path}: expected `size` and `sha256` of {name}, found {str(entry):.80}")
        limit = _MAX_WEIGHTS_BYTES if name == WEIGHTS else _MAX_FILE_BYTES
        if size > limit:
            raise BundleError(f"{path}: expected at most {limit:,} bytes for {name}, found {size:,}")
    return checked


def _differs(where: Path, name: str, size: int, digest: str) -> str | None:
    path = where / name
    try:
        _refuse_outside(where, path)
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return f"{path}: expected a regular file, found something else"
        if status.st_size != size:
            return f"{path}: expected {size:,} bytes, found {status.st_size:,}"
        found = _hash(path)
    except BundleError as fault:
        return str(fault)
    except OSError as fault:
        return f"{path}: expected a file of {size:,} bytes, found {fault.strerror or fault}"
    return None if found == digest else f"{path}: expected SHA-256 {digest:.16}…, found {found:.16}…"


def _refuse_outside(where: Path, path: Path) -> None:
    """Refuse links that lead out of the bundle, whichever part of the path is one."""
    real = path.resolve()
    if not real.is_relative_to(where.resolve()):
        raise BundleError(f"{path}: expected a file inside the bundle, found a link to {real}")


def _load_model(recipe: Recipe, codecs: Codecs, path: Path) -> Seq2Seq:
    """Build the model of the recipe and fill it; first without memory: a false recipe must cost nothing."""
    ports, found = ports_of(recipe, codecs), _header(path)
    if (layers := recipe.model.encoder.layers + recipe.model.decoder.layers) > len(found):
        raise BundleError(f"{path}: expected weights of {layers:,} layers, found {len(found):,} tensors")
    with torch.random.fork_rng(devices=[]):
        _compare(path, _shapes(recipe, *ports), found)
        model = build_model(recipe.model, *ports, recipe.training.objective)
    try:
        with safetensors.safe_open(path, framework="pt") as file, torch.no_grad():
            for name, tensor in _untied(model).items():
                tensor.copy_(file.get_tensor(name))
    except safetensors.SafetensorError as fault:
        raise BundleError(f"{path}: expected safetensors, found: {fault}") from fault
    return model


def _shapes(recipe: Recipe, source: Port, target: Port) -> dict[str, list[int]]:
    try:
        with torch.device("meta"):
            model = build_model(recipe.model, source, target, recipe.training.objective)
    except RuntimeError as fault:  # torch says so of sizes beyond 64 bits
        raise BundleError(f"{RECIPE}: expected a model that can be built, found: {fault}") from fault
    return {name: list(tensor.shape) for name, tensor in _untied(model).items()}


def _header(path: Path) -> dict[str, list[int]]:
    """Return the shape of each tensor of a safetensors file, from a header of bounded size."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_MAX_HEADER_BYTES, path.stat().st_size - 8):
            raise BundleError(f"{path}: expected a safetensors header, found one of {length:,} bytes")
        raw = file.read(length)
    try:
        entries: dict[str, Any] = json.loads(raw)
        entries.pop("__metadata__", None)
        types = {entry["dtype"] for entry in entries.values()}
        shapes = {name: list(entry["shape"]) for name, entry in entries.items()}
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as fault:
        raise BundleError(f"{path}: expected a safetensors header, found: {fault!r:.200}") from fault
    if types - {"F32"}:
        raise BundleError(f"{path}: expected float32 weights, found {', '.join(sorted(map(str, types)))}")
    return shapes


def _compare(path: Path, expected: Mapping[str, list[int]], found: Mapping[str, list[int]]) -> None:
    names = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if not names:
        return
    lines = [
        f"{path}: the weights do not fit the model of {RECIPE}: {len(names)} names or shapes differ"
        + (", the first 5:" if len(names) > 5 else ":")
    ]
    for name in names[:5]:
        wanted, got = expected.get(name, "no such tensor"), found.get(name, "none")
        lines.append(f"  {name:.80}: expected {wanted}, found {str(got):.80}")
    raise BundleError("\n".join(lines))


def _device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("device `cuda` was asked for, but torch sees no GPU: use `auto` or `cpu`")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")
