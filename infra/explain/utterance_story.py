"""What became of one utterance, for a terminal: what was heard, what was meant, where it went, and which version resolves it."""

from rich.console import Group, RenderableType
from rich.text import Text

from functions.runtime import Ports
from functions.views.utterance import UtteranceStory, read_utterance
from infra.errors import Refused
from infra.wording import when
from shared.head import FIRST_CYCLE, read_head
from shared.ids import version_name


def tell(ports: Ports, utterance_id: str) -> UtteranceStory:
    """Read every dataset, the ledgers that are not sealed, and every verdict's closure.

    Raises:
        Refused: nothing is known of such an utterance.
    """
    story = read_utterance(ports, utterance_id, range(FIRST_CYCLE, read_head(ports.store) + 1))
    if not story.known:
        raise Refused(
            f"utterance {utterance_id}: expected an event about it, found none; it was never reported, was refused "
            "(`retune dlq list`), is on its way, or was forgotten"
        )
    return story


def render(story: UtteranceStory) -> RenderableType:
    """Return the story for people."""
    lines = [Text(f"Utterance {story.utterance_id}", style="bold")]
    for mention in story.mentions:
        where = mention.set_aside and f"set aside: {mention.set_aside}"
        where = where or (f"in {mention.split}" if mention.split else "not used yet")
        lines.append(Text(f"  cycle {mention.cycle}: {mention.kind} of {when(mention.at)}, {where}"))
        served = f" by {version_name(mention.model_version)}" if mention.model_version is not None else ""
        lines += [Text(f"    heard{served}: {mention.hypothesis}")] if mention.hypothesis is not None else []
        lines += [Text(f"    meant: {mention.reference}")] if mention.reference is not None else []
        lines += [Text(f"    said by {mention.by} (claimed): {mention.reason or 'no reason given'}")] if mention.by is not None else []
    for item in story.verdicts:
        role = "trained on it (no evidence)" if item.learned else "held out"
        counts = f"{item.base_errors} -> {item.candidate_errors} errors of {item.words} words"
        lines.append(Text(f"  {version_name(item.version)} beside {version_name(item.base_version)}: {item.fate}, {counts}; {role}"))
    return Group(*lines, Text(f"  {story.ending}"))
