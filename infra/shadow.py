"""What a version heard that transcribes beside the stable one: how often the two agree, and who is right where a person said so."""

from collections.abc import Iterable, Sequence

from functions.runtime import Ports
from infra.errors import Refused
from shared import ledger
from shared.alias import find_production
from shared.documents import Frozen
from shared.events import Event, SttCorrection, SttError, SttSample
from shared.head import FIRST_CYCLE, read_head
from shared.ids import version_name
from shared.normalisation import normalise
from shared.wer import count_word_errors_batch, pooled_wer


class ShadowReport(Frozen):
    """What the samples of a shadow say.

    Attributes:
        samples: with a transcript of the shadow beside the served one.
        agreeing: of these, with the same words.
        referenced: of these, with a person's reference.
        served_wer, shadow_wer: pooled, on the referenced ones; None without any. People correct what was heard wrongly: on
            reported errors alone any other model looks better, so that a lower WER here is a hint, never evidence.
    """

    version: int
    samples: int
    agreeing: int
    referenced: int
    served_wer: float | None
    shadow_wer: float | None


def look(ports: Ports, version: int | None) -> ShadowReport:
    """Count what the ledgers that are not yet collected as garbage hold about a shadow (by default the version on canary).

    Raises:
        Refused: none was named, and none is on canary.
    """
    production = find_production(ports.store)
    if version is None and (production is None or production.canary is None):
        raise Refused("expected a version on canary or in shadow, found none: begin one with `retune canary VERSION --percent 0`")
    wanted = version if version is not None else production.canary.version if production and production.canary else 0
    head = read_head(ports.store)
    numbers = range(max(head - 1, FIRST_CYCLE), head + 1)
    return count_shadow([event for number in numbers for event in ledger.read_events(ports.store, number)], wanted)


def count_shadow(events: Sequence[Event], version: int) -> ShadowReport:
    """Return what events say about a shadow; an utterance counts once."""
    references = _references(events)
    heard = {
        event.utterance_id: (event.hypothesis, event.shadow_hypothesis)
        for event in events
        if isinstance(event, SttSample) and event.shadow_version == version and event.shadow_hypothesis is not None
    }
    known = [name for name in heard if name in references]
    said = [references[name] for name in known]
    served, shadow = (count_word_errors_batch(said, [heard[name][side] for name in known]) for side in (0, 1))
    return ShadowReport(
        version=version,
        samples=len(heard),
        agreeing=sum(normalise(mine) == normalise(other) for mine, other in heard.values()),
        referenced=len(known),
        served_wer=pooled_wer(served),
        shadow_wer=pooled_wer(shadow),
    )


def _references(events: Iterable[Event]) -> dict[str, str]:
    return {
        event.utterance_id: event.reference
        for event in events
        if isinstance(event, SttCorrection | SttError | SttSample) and event.reference is not None and event.reference_provenance != "llm"
    }


def render(report: ShadowReport) -> str:
    """Return the report for people."""
    if not report.samples:
        return f"{version_name(report.version)}: no sample carries a transcript of it yet (see `choose_shadow` of retune-client)"
    text = f"{version_name(report.version)}: {report.agreeing} of {report.samples} samples with the same words as what was served"
    if report.served_wer is None or report.shadow_wer is None:
        return f"{text}; no person has said yet what was said in any of them"
    wer = f"WER {report.shadow_wer:.2%}, what was served {report.served_wer:.2%}"
    return f"{text}; on {report.referenced} that a person corrected {wer} (a hint: people correct what was heard wrongly)"
