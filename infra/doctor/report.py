"""What the doctor found, for people."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from infra.doctor.findings import Finding
from shared.documents import Frozen

_MARKS = {"ok": Text("ok", style="green"), "problem": Text("PROBLEM", style="bold red"), "unknown": Text("unknown", style="yellow")}


class Diagnosis(Frozen):
    """Everything that was looked at.

    Attributes:
        applied: something of the system is there already.
    """

    project: str
    region: str
    applied: bool
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What must be mended."""
        return tuple(finding for finding in self.findings if finding.level == "problem")


def render(diagnosis: Diagnosis) -> RenderableType:
    """Return a table of the findings, and what to do next."""
    table = Table("", "", "found", "do", box=None, pad_edge=False)
    for finding in diagnosis.findings:
        table.add_row(_MARKS[finding.level], finding.subject, Text(finding.found), Text(finding.fix))
    return Group(table, Text(_ending(diagnosis)))


def _ending(diagnosis: Diagnosis) -> str:
    count = len(diagnosis.problems)
    found = f"{count} problem{'s' if count != 1 else ''}" if count else "No problem"
    if diagnosis.applied:
        return f"{found} in {diagnosis.project}."
    ready = "" if count else f": terraform apply -var project_id={diagnosis.project} -var region={diagnosis.region}, from infra/"
    return f"{found} in {diagnosis.project}. Nothing is applied there yet{ready}."
