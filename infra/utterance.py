"""What became of one utterance, from the records: what was heard, what was meant, where it went, and which version resolves it [io]."""

from collections.abc import Iterator

from pydantic import AwareDatetime
from rich.console import Group, RenderableType
from rich.text import Text

from functions.launcher.window import find_dataset
from functions.runtime import Ports
from functions.views.production import read_production
from infra.errors import Refused
from infra.wording import when
from shared import keys, ledger
from shared.cas import find
from shared.cases import Closed
from shared.dataset import Row
from shared.events import Event, SttCorrection, Utterance
from shared.frozen import Frozen
from shared.ids import version_name
from shared.registry import Production
from shared.training import ModelManifest, parse_document, parse_lines


class Mention(Frozen):
    """One event about the utterance.

    Attributes:
        cycle: whose dataset or ledger holds it.
        at: when it happened, as the service says.
        kind: error, sample or correction.
        by, reason: of a correction: who said so, as they claim, and why.
        split: train, dev or holdout; None = not sealed yet, or set aside.
        set_aside: why nobody can use it.
    """

    cycle: int
    at: AwareDatetime
    kind: str
    model_version: int | None = None
    hypothesis: str | None = None
    reference: str | None = None
    by: str | None = None
    reason: str | None = None
    split: str | None = None
    set_aside: str | None = None


class UtteranceStory(Frozen):
    """All that is on record about one utterance.

    Attributes:
        mentions: in the order of the cycles, then of time.
        verdicts: what each candidate made of it, beside the model that served then.
        resolved_by: the newest version that fixed it and became stable.
        serves: it is stable now, or what is stable was trained on from it.
    """

    utterance_id: str
    mentions: tuple[Mention, ...]
    verdicts: tuple[Closed, ...]
    resolved_by: int | None = None
    serves: bool = False


def tell(ports: Ports, utterance_id: str) -> UtteranceStory:
    """Read every dataset, the ledgers that are not sealed, and every verdict's closure.

    Raises:
        Refused: nothing is known of such an utterance.
    """
    mentions = tuple(sorted(_mentions(ports, utterance_id), key=lambda mention: (mention.cycle, mention.at, mention.kind == "correction")))
    verdicts = tuple(_verdicts(ports, utterance_id))
    if not mentions and not verdicts:
        raise Refused(
            f"utterance {utterance_id}: expected an event about it, found none; it was never reported, was refused "
            "(`retune dlq list`), is on its way, or was forgotten"
        )
    fixed = [item.version for item in verdicts if item.resolved_by == item.version and find(ports.store, keys.resolved(item.version))]
    resolved_by = max(fixed, default=None)
    serves = resolved_by is not None and _serves(ports, read_production(ports), resolved_by)
    return UtteranceStory(utterance_id=utterance_id, mentions=mentions, verdicts=verdicts, resolved_by=resolved_by, serves=serves)


def _mentions(ports: Ports, utterance_id: str) -> Iterator[Mention]:
    for cycle in range(ledger.FIRST_CYCLE, ledger.read_head(ports.store) + 1):
        sealed = find_dataset(ports, cycle)
        if sealed is not None:
            yield from (_of_row(cycle, row) for row in sealed.rows if row.utterance_id == utterance_id and row.origin == "fresh")
        else:
            yield from (_of_event(cycle, event) for event in ledger.read_events(ports.store, cycle) if _about(event) == utterance_id)


def _about(event: Event) -> str | None:
    return event.utterance_id if isinstance(event, Utterance | SttCorrection) else None


def _of_row(cycle: int, row: Row) -> Mention:
    return Mention(
        cycle=cycle,
        at=row.occurred_at,
        kind=row.kind,
        model_version=row.model_version,
        hypothesis=row.hypothesis,
        reference=row.reference,
        by=row.by,
        reason=row.reason,
        split=row.split,
        set_aside=f"{row.set_aside} {row.detail}".strip() if row.set_aside else None,
    )


def _of_event(cycle: int, event: Event) -> Mention:
    return Mention(
        cycle=cycle,
        at=event.occurred_at,
        kind=type(event).__name__.removeprefix("Stt").lower(),
        model_version=getattr(event, "model_version", None),
        hypothesis=getattr(event, "hypothesis", None),
        reference=getattr(event, "reference", None),
        by=getattr(event, "by", None),
        reason=getattr(event, "reason", None),
    )


def _verdicts(ports: Ports, utterance_id: str) -> Iterator[Closed]:
    for info in ports.store.list(keys.VERDICTS):
        if info.key.endswith("/closure.jsonl"):
            lines = parse_lines(Closed, ports.store.get(info.key).data, what=info.key)
            yield from (item for item in lines if item.utterance_id == utterance_id)


def _serves(ports: Ports, production: Production | None, version: int) -> bool:
    stable = production.stable if production else None
    if stable is None or stable == version:
        return stable == version
    manifest = parse_document(ModelManifest, ports.store.get(keys.manifest(stable)).data, what=keys.manifest(stable))
    return version in manifest.learned


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
    return Group(*lines, Text(f"  {_ending(story)}"))


def _ending(story: UtteranceStory) -> str:
    if story.resolved_by is None:
        return "resolved by no version yet"
    return f"resolved by {version_name(story.resolved_by)}" + ("" if story.serves else ", which does not serve any more")
