"""Gold that a person must decide: what an endpoint proposed and the sound neither bore out nor contradicted.

A cycle's answers go out as corrections, like those of any user, and are learned in the next cycle. For a run of `retune finetune` they are
written beside the clips, where the next run finds them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from rich.table import Table

from functions.runtime import Ports
from functions.views.review import doubtful_gold
from infra.errors import Refused
from infra.people import Answer
from shared import keys, ledger
from shared.cas import find
from shared.events import SttCorrection
from shared.gold import ReviewItem
from shared.ids import derived_event_id
from shared.messages import outgoing
from shared.normalisation import normalise
from shared.training import parse_lines

LOOK_BACK = 100


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
    """The gold of a cycle, by default of the newest that made any."""

    ports: Ports
    cycle: int | None = None

    @property
    def name(self) -> str:
        """For a heading."""
        return f"gold of cycle {self._number} that waits for a person"

    @cached_property
    def _number(self) -> int:
        head = ledger.read_head(self.ports.store)
        for number in [self.cycle] if self.cycle is not None else range(head, max(0, head - LOOK_BACK), -1):
            if find(self.ports.store, keys.gold(number)) is not None:
                return number
        where = f"cycle {self.cycle}" if self.cycle is not None else f"the last {LOOK_BACK} cycles"
        raise Refused(f"{where}: expected gold that a trainer made, found none; the policy's `gold` says whom it asks")

    def waiting(self) -> list[ReviewItem]:
        """Return what waits; what a person has corrected since waits no more."""
        return doubtful_gold(self.ports, self._number, self._corrected())

    def answer(self, utterance_id: str, text: str | None) -> Answer:
        """Publish what was said as a correction."""
        _, said = _answered(self.waiting(), utterance_id, text)
        event = SttCorrection(
            event_id=derived_event_id("SttCorrection", f"review-{utterance_id}", said),
            occurred_at=self.ports.clock.now(),
            utterance_id=utterance_id,
            reference=said,
            reference_provenance="human",
        )
        self.ports.publisher.publish(outgoing(event))
        text = f"{utterance_id}: published as a correction; the next cycle learns it"
        return Answer(outcome="published", text=text, event_id=event.event_id)

    def _corrected(self) -> set[str]:
        later = range(self._number + 1, ledger.read_head(self.ports.store) + 1)
        events = (event for number in later for event in ledger.read_events(self.ports.store, number))
        return {event.utterance_id for event in events if isinstance(event, SttCorrection) and event.reference_provenance == "human"}


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
        item, said = _answered(self.waiting(), utterance_id, text)
        path = Path(item.audio).with_suffix(".txt")
        if not path.parent.is_dir():
            raise Refused(f"clip {utterance_id}: expected its folder {path.parent}, found none: was it moved?")
        path.write_text(f"{said}\n", encoding="utf-8")
        text = f"{utterance_id}: written to {path}; the next run (with a new --output-dir) takes it as a person's reference"
        return Answer(outcome="accepted", text=text)


def _answered(items: Sequence[ReviewItem], utterance_id: str, text: str | None) -> tuple[ReviewItem, str]:
    """Return what waits and a text that can be its reference: `text`, or what was proposed.

    Raises:
        Refused: it does not wait, there is no text, or no word in it.
    """
    found = next((item for item in items if item.utterance_id == utterance_id), None)
    if found is None:
        raise Refused(f"utterance {utterance_id}: expected one of the {len(items)} that wait (see `retune review`), found none")
    said = found.proposed if text is None else text
    if said is None:
        raise Refused(f"utterance {utterance_id}: nothing usable was proposed; say what you hear with --text")
    if not normalise(said):
        raise Refused(f"utterance {utterance_id}: expected words, found {said!r}")
    return found, " ".join(said.split())


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
