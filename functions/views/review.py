"""Gold transcripts that a person must decide, as a cycle's trainer left them [io]."""

from functions.runtime import Ports
from shared import keys
from shared.cas import find
from shared.documents import parse_lines
from shared.gold import GoldRecord, ReviewItem
from shared.training import UnlabelledClip


def doubtful_gold(ports: Ports, cycle: int) -> list[ReviewItem]:
    """Return what a person must decide of a cycle's gold, or has since; nothing where it made none."""
    found = find(ports.store, keys.gold(cycle))
    records = parse_lines(GoldRecord, found.data, what=found.info.key) if found else []
    waiting = [record for record in records if record.decision == "review"]
    clips = _clips(ports, cycle) if waiting else {}
    return [_review_item(record, clips.get(record.utterance_id)) for record in waiting]


def _clips(ports: Ports, cycle: int) -> dict[str, UnlabelledClip]:
    found = find(ports.store, keys.clips(cycle, keys.UNLABELLED_SET))
    clips = parse_lines(UnlabelledClip, found.data, what=found.info.key) if found else []
    return {clip.utterance_id: clip for clip in clips}


def _review_item(record: GoldRecord, clip: UnlabelledClip | None) -> ReviewItem:
    return ReviewItem(
        utterance_id=record.utterance_id,
        audio=clip.audio.uri if clip else "",
        hypothesis=clip.hypothesis if clip else "",
        reason=record.reason,
        proposed=record.text,
        samples=record.samples,
    )
