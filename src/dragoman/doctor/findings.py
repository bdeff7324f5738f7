"""What the doctor finds: how bad it is, what it means for the model, and one thing that mends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["fault", "warning", "note"]
Section = Literal["environment", "recipe", "data", "overfit", "bundle", "losses"]


@dataclass(frozen=True)
class Finding:
    """One thing found; a note needs no mending."""

    section: Section
    severity: Severity
    found: str
    means: str = ""
    mend: str = ""


def faults_of(findings: Sequence[Finding]) -> list[Finding]:
    """Choose those with which nothing good can be trained."""
    return [one for one in findings if one.severity == "fault"]


def as_text(findings: Sequence[Finding]) -> str:
    """Write findings grouped by section, in their order."""
    lines: list[str] = []
    for section in dict.fromkeys(one.section for one in findings):
        lines.append(section)
        for one in (one for one in findings if one.section == section):
            lines.append(f"  {one.severity}: {one.found}")
            lines += [f"      it means: {one.means}"] if one.means else []
            lines += [f"      mend it: {one.mend}"] if one.mend else []
    counts = {name: sum(one.severity == name for one in findings) for name in ("fault", "warning")}
    told = [f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items()]
    return "\n".join([*lines, ", ".join(told)])


def as_rows(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """Return findings as plain values, for JSON."""
    return [asdict(one) for one in findings]
