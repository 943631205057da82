"""Gold that a person must decide: what an endpoint proposed and the sound neither bore out nor contradicted.

A cycle's answers go out as corrections, like those of any user, and are learned in the next cycle. For a run of `retune finetune` they are
written beside the clips, where the next run finds them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.table import Table

from functions.acts.people import Answer
from functions.acts.review import GoldReview, answered_text
from functions.runtime import Ports
from infra.errors import Refused
from shared.documents import parse_lines
from shared.gold import ReviewItem
from shared.messages import outgoing


class ReviewSource(Protocol):
    """Where gold waits for people."""

    @property
    def name(self) -> str:
        """For a heading."""
        ...

    def waiting(self) -> list[ReviewItem]:
        """Return what waits.

        Raises:
            Refused: there is no gold.
        """
        ...

    def answer(self, utterance_id: str, text: str | None) -> Answer:
        """Take what a person heard; None = what was proposed.

        Raises:
            Refused: the utterance does not wait, nothing was proposed, or the text has no word.
        """
        ...


@dataclass(frozen=True)
class CycleReview:
    """The gold of a cycle, by default of the newest that made any.

    Attributes:
        by: who answers, as they claim.
        reason: why they heard what they heard.
    """

    ports: Ports
    cycle: int | None = None
    by: str | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        """For a heading."""
        return f"gold of cycle {self._gold.number} that waits for a person"

    @property
    def _gold(self) -> GoldReview:
        return GoldReview(self.ports, self.cycle)

    def waiting(self) -> list[ReviewItem]:
        """Return what waits; what a person has corrected since waits no more."""
        return self._gold.waiting()

    def answer(self, utterance_id: str, text: str | None) -> Answer:
        """Publish what was said as a correction."""
        event = self._gold.correction(utterance_id, text, by=self.by, reason=self.reason)
        self.ports.publisher.publish(outgoing(event))
        text = f"{utterance_id}: published as a correction; the next cycle learns it"
        return Answer(outcome="published", text=text, event_id=event.event_id)


@dataclass(frozen=True)
class FolderReview:
    """The gold of a run of `retune finetune`; `output` is its folder."""

    output: Path

    @property
    def name(self) -> str:
        """For a heading."""
        return f"gold of {self.output} that waits for a person"

    def waiting(self) -> list[ReviewItem]:
        """Return what waits; a clip beside which its text lies by now waits no more."""
        path = self.output / "review.jsonl"
        if not path.is_file():
            raise Refused(f"{self.output}: expected review.jsonl of a run of `retune finetune` that asked an LLM, found none")
        items = parse_lines(ReviewItem, path.read_bytes(), what=str(path))
        return [item for item in items if not Path(item.audio).with_suffix(".txt").exists()]

    def answer(self, utterance_id: str, text: str | None) -> Answer:
        """Write what was said beside the clip, as NAME.txt."""
        item, said = answered_text(self.waiting(), utterance_id, text)
        path = Path(item.audio).with_suffix(".txt")
        if not path.parent.is_dir():
            raise Refused(f"clip {utterance_id}: expected its folder {path.parent}, found none: was it moved?")
        path.write_text(f"{said}\n", encoding="utf-8")
        text = f"{utterance_id}: written to {path}; the next run (with a new --output-dir) takes it as a person's reference"
        return Answer(outcome="accepted", text=text)


def render(items: Sequence[ReviewItem], title: str) -> Table | str:
    """Return a table for people."""
    if not items:
        return "nothing waits for review"
    table = Table(title=title)
    for heading in ("utterance", "proposed", "why a person", "audio"):
        table.add_column(heading, overflow="fold")
    for item in items:
        table.add_row(item.utterance_id, item.proposed or "-", item.reason, item.audio)
    return table
