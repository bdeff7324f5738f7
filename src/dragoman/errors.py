"""Every error that dragoman raises on purpose.

DragomanError
├── UserError            something a person can mend; printed without a traceback, exit code 2
│   ├── RecipeError      a recipe or an override says something that cannot be; carries every complaint
│   ├── DataError        a file of examples, or a value given to a codec, is not what it should be
│   ├── BundleError      a bundle is tampered with, truncated, foreign or missing
│   ├── CheckpointError  a checkpoint is damaged or belongs to another run
│   └── MissingExtra     an optional library is not installed; the message has the line that installs it
├── Interrupted          the run was asked to stop; it saved and says how to continue, exit code 4
└── Diverged             the loss stayed not finite; the offending batch is saved, exit code 5
"""

from __future__ import annotations

from collections.abc import Sequence


class DragomanError(Exception):
    """The root: catch this to catch all that dragoman raises on purpose."""

    exit_code = 1


class UserError(DragomanError):
    """A fault that a person can mend; the message says where, what was found and what would do."""

    exit_code = 2


class RecipeError(UserError):
    """A recipe that cannot be used; `complaints` holds one line for each fault, all found at once."""

    def __init__(self, complaints: Sequence[str]) -> None:
        """Join the complaints into one message, one a line."""
        self.complaints = tuple(complaints)
        super().__init__("\n".join(self.complaints))


class DataError(UserError):
    """Examples or a single value that cannot be read or encoded."""


class BundleError(UserError):
    """A folder that is not a bundle, or no longer the bundle that was saved."""


class CheckpointError(UserError):
    """A checkpoint that is damaged or does not belong to this run."""


class MissingExtra(UserError):  # noqa: N818 - reads as a statement, like KeyboardInterrupt
    """An optional library that is not installed."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        """Say what is missing, what for, and how to install it."""
        super().__init__(
            f"{purpose} needs {library}, which is not installed: pip install 'dragoman[{extra}]'"
        )


class Interrupted(DragomanError):  # noqa: N818 - reads as a statement, like KeyboardInterrupt
    """The run was asked to stop (Ctrl-C or SIGTERM); everything is saved."""

    exit_code = 4


class Diverged(DragomanError):  # noqa: N818 - reads as a statement, like KeyboardInterrupt
    """The loss was not finite several times in a row."""

    exit_code = 5
