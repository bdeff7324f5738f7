"""The program `dragoman`: runs a verb and turns faults into one message and an exit code."""

from __future__ import annotations

import os
import sys

from dragoman.errors import DragomanError

EXIT_CRASHED = 1
EXIT_REFUSED = 2
EXIT_INTERRUPTED = 130
SPINS = "GOMP_SPINCOUNT", "3000"
"""How often threads of OpenMP (GNU) look whether others are ready before they sleep. By default they do so a
hundred times as often, which on a core that something else wants too makes a step several times as long."""


def main() -> None:
    """Run the command line; a person's fault is one message without a traceback, `--debug` shows all."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(*SPINS)  # before torch is there: it is read once
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    sys.exit(_run([argument for argument in arguments if argument != "--debug"], debug))


def _run(arguments: list[str], debug: bool) -> int:
    """Run one command and return its exit code."""
    from dragoman.cli.program import app  # imports typer and rich: after the cheap checks

    try:
        app(arguments, prog_name="dragoman")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else EXIT_CRASHED
    except DragomanError as error:
        if debug:
            raise
        print(f"dragoman: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader went away (`| head`): nothing is wrong, and nothing may be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as fault:
        # A disk that is full, a place that is closed: what is at fault is no code.
        if debug:
            raise
        print(f"dragoman: {_said(fault)}", file=sys.stderr)
        return EXIT_REFUSED
    except KeyboardInterrupt:
        if debug:
            raise
        print("dragoman: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _said(fault: OSError) -> str:
    """Say what the system refused, and where."""
    place = "" if fault.filename is None else f"{fault.filename}: "
    return f"{place}the system refused: {fault.strerror or fault}; --debug shows where in the program"


if __name__ == "__main__":
    main()
