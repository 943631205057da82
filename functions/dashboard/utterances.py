"""What the page of one utterance shows: what was heard and meant, what each candidate made of it, and whether it is fixed [io]."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from functions.dashboard.audio import DATASET, audio_address
from functions.runtime import Ports
from functions.views.scan import Bound
from functions.views.utterance import Mention, UtteranceStory, read_utterance
from shared.documents import Frozen
from shared.head import FIRST_CYCLE, read_head

if TYPE_CHECKING:
    from shared.diffs import Word

LOOKED_CYCLES = 50
BOUND = Bound(size_bytes=64 << 20, objects=1000)
"""One answer reads the records of so many cycles, and so much of them."""


class UtteranceDetails(Frozen):
    """One utterance.

    Attributes:
        older: what `before` must be to see the cycles before those that were looked at; None = there are none.
        newer: likewise after them.
    """

    story: UtteranceStory
    older: int | None
    newer: int | None


def utterance_address(utterance_id: str, cycle: int | None = None) -> str:
    """Return where an utterance's story is, from the console's first page.

    Args:
        utterance_id: may hold anything; what cannot be a step of a path is asked for in the query.
        cycle: about which it is asked: as many cycles after it as before it are looked at; None = the newest.
    """
    beside = {} if cycle is None else {"before": str(cycle + LOOKED_CYCLES // 2 + 1)}
    if "/" in utterance_id or utterance_id in {".", ".."}:
        return f"utterances?{urlencode({'id': utterance_id, **beside})}"
    return f"utterances/{quote(utterance_id, safe='')}" + (f"?{urlencode(beside)}" if beside else "")


def read_utterance_details(ports: Ports, utterance_id: str, before: int | None) -> UtteranceDetails:
    """Read what some cycles have on record about an utterance.

    Args:
        ports: the outside world; it is only read.
        utterance_id: whose story.
        before: the cycles below this one are looked at, `LOOKED_CYCLES` of them; None = up to the newest.
    """
    end = read_head(ports.store) + 1
    stop = min(before or end, end)
    first = max(stop - LOOKED_CYCLES, FIRST_CYCLE)
    return UtteranceDetails(
        story=read_utterance(ports, utterance_id, range(first, stop), BOUND),
        older=first if first > FIRST_CYCLE else None,
        newer=min(stop + LOOKED_CYCLES, end) if stop < end else None,
    )


@dataclass(frozen=True)
class ShownMention:
    """An event as the page shows it.

    Attributes:
        words: what was heard, aligned to what was meant; empty where one of them is not known.
        audio: where it can be heard; empty = nowhere here.
    """

    mention: Mention
    words: tuple["Word", ...]
    audio: str


def shown_mention(utterance_id: str, mention: Mention) -> ShownMention:
    """Return an event with its words compared."""
    from shared.diffs import compared

    both = mention.reference is not None and mention.hypothesis is not None
    return ShownMention(
        mention=mention,
        words=compared(mention.reference or "", mention.hypothesis or "") if both else (),
        audio=audio_address(mention.cycle, DATASET, utterance_id) if mention.pinned else "",
    )
