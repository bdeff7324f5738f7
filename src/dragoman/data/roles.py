"""Which of the files that a person names are for training, development and test, and which make pairs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dragoman.data.lines import find_file, plain_name
from dragoman.errors import UserError

Role = Literal["train", "dev", "test"]

WORDS: dict[str, Role] = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "dev": "dev",
    "devel": "dev",
    "development": "dev",
    "valid": "dev",
    "validation": "dev",
    "val": "dev",
    "test": "test",
    "tst": "test",
    "gold": "test",
}
"""What a part of a file's name says of its role; the first such part counts."""
_PARTS = re.compile(r"[._-]")
_IGNORED = re.compile(r"(readme|license|licence|sha256sums|manifest)", re.IGNORECASE)


@dataclass(frozen=True)
class Given:
    """Files of each role in order: one, or for parallel text a source and its targets."""

    folder: Path
    train: tuple[str, ...]
    dev: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def given_files(names: Sequence[str]) -> Given:
    """Sort files by what their names say; of one folder all, and where only training is named its neighbours.

    Raises UserError where that is not clear, and DataError for a file that is not there.
    """
    if len(names) == 1 and Path(names[0]).is_dir():
        return _of_folder(Path(names[0]))
    paths = [find_file(Path(), name).absolute() for name in names]
    folders = {path.parent for path in paths}
    if len(folders) > 1:
        raise UserError(
            f"files of one data set lie in one folder, found {', '.join(sorted(map(str, folders)))}; "
            "a recipe of your own can name any"
        )
    folder = folders.pop()
    by_role = _by_role([path.name for path in paths])
    if not by_role["train"]:
        raise UserError(f"nothing to learn from among {', '.join(names)}: their names say dev or test")
    found = _checked(folder, by_role)
    if found.dev or found.test:
        return found
    dev, test = (_neighbours(folder, found.train, role) for role in ("dev", "test"))
    near = [*dev, *test]
    notes = (f"Beside the training file: {', '.join(near)}.",) if near else ()
    return Given(folder, found.train, dev, test, notes)


def role_of(name: str) -> Role | None:
    """Read a role off a file's name."""
    parts = _PARTS.split(plain_name(Path(name)))
    return next((WORDS[part] for part in parts if part in WORDS), None)


def _by_role(names: Sequence[str]) -> dict[Role, list[str]]:
    found: dict[Role, list[str]] = {"train": [], "dev": [], "test": []}
    for name in names:
        found[role_of(name) or "train"].append(name)
    return found


def _checked(folder: Path, by_role: dict[Role, list[str]]) -> Given:
    """Refuse more files than a corpus has."""
    for role, names in by_role.items():
        if len(names) > 2 or (role != "train" and names and len(names) != len(by_role["train"])):
            raise UserError(
                f"{folder}: several files for {role}: {', '.join(names)}; name one table, or a source "
                "and its target, for each of train, dev and test"
            )
    return Given(folder, tuple(by_role["train"]), tuple(by_role["dev"]), tuple(by_role["test"]))


def _of_folder(folder: Path) -> Given:
    folder = folder.absolute()
    if (folder / "wav.scp").is_file():
        return Given(folder.parent, (folder.name,))
    kaldi = {path.name for path in folder.iterdir() if (path / "wav.scp").is_file()}
    files = {path.name for path in folder.iterdir() if path.is_file() and not _IGNORED.match(path.name)}
    names = sorted(kaldi or files)
    by_role = _by_role([name for name in names if role_of(name)] or names)
    if not by_role["train"]:
        raise UserError(f"{folder}: no file to learn from; one has `train` in its name, or is named itself")
    found = _checked(folder, by_role)
    if len(found.train) == 1:
        return found
    note = f"Sources are {found.train[0]}, in the order of the alphabet; name the files to turn it round."
    return Given(folder, found.train, found.dev, found.test, (note,))


def _neighbours(folder: Path, train: tuple[str, ...], role: Role) -> tuple[str, ...]:
    """Find the files that are called as the training files but for the role, compressed or not."""
    shapes = [_shape(name) for name in train]
    if not all(role_of(name) == "train" for name in train):
        return ()
    there = sorted(path.name for path in folder.iterdir() if role_of(path.name) == role)
    matches = [[name for name in there if _shape(name) == shape] for shape in shapes]
    return tuple(found[0] for found in matches) if all(len(found) == 1 for found in matches) else ()


def _shape(name: str) -> tuple[str, ...]:
    """Return the parts of a name with its role left open."""
    parts = _PARTS.split(plain_name(Path(name)))
    place = next((at for at, part in enumerate(parts) if part in WORDS), None)
    return tuple("" if at == place else part for at, part in enumerate(parts))
