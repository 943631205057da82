"""Strict pairing: each clip that was to be judged has both hypotheses, or was set aside by name."""

from collections.abc import Collection, Iterable, Iterator

from functions.validator.counting import Pair
from shared.errors import InvalidMessage
from shared.normalisation import Normaliser
from shared.training import Clip, EvaluationRow


def paired(
    name: str, clips: Iterable[Clip], rows: Iterable[EvaluationRow], aside: Collection[str], normaliser: Normaliser
) -> Iterator[Pair]:
    """Join clips with the hypotheses that were stored, as a stream in the clips' order.

    A candidate could pass by being silent where it fails, hence no clip is dropped in silence. Rows in the clips' order, as the trainer
    writes them, are held one at a time; others wait in memory for their clip.

    Args:
        name: of the set, for messages.
        clips: the set as the launcher pinned it.
        rows: what the trainer stored, in any order.
        aside: ids that the trainer set aside.
        normaliser: decides which references are the same.

    Raises:
        InvalidMessage: a clip has no row and was not set aside, a row has no clip, an id comes twice, or a row contradicts its clip; at the
            latest when the stream ends.
    """
    waiting: dict[str, EvaluationRow] = {}
    stored = _each_once(name, rows)
    known: set[str] = set()
    missing: list[str] = []
    for clip in clips:
        if clip.utterance_id in known:
            raise _twice(name, clip.utterance_id, "clips")
        known.add(clip.utterance_id)
        if clip.utterance_id in aside:
            continue
        row = _row_of(clip.utterance_id, waiting, stored)
        if row is None:
            missing.append(clip.utterance_id)
            continue
        _check_same(name, clip, row, normaliser)
        yield clip, row
    left = set(waiting) | {row.utterance_id for row in stored}
    _refuse(name, "without hypotheses and not set aside", missing)
    _refuse(name, "both judged and set aside", left & known)
    _refuse(name, "that are no clip of the set", left.union(aside) - known)


def _each_once(name: str, rows: Iterable[EvaluationRow]) -> Iterator[EvaluationRow]:
    seen: set[str] = set()
    for row in rows:
        if row.utterance_id in seen:
            raise _twice(name, row.utterance_id, "rows")
        seen.add(row.utterance_id)
        yield row


def _row_of(utterance: str, waiting: dict[str, EvaluationRow], stored: Iterator[EvaluationRow]) -> EvaluationRow | None:
    present = waiting.pop(utterance, None)
    if present is not None:
        return present
    for row in stored:
        if row.utterance_id == utterance:
            return row
        waiting[row.utterance_id] = row
    return None


def _check_same(name: str, clip: Clip, row: EvaluationRow, normaliser: Normaliser) -> None:
    same = {
        "cluster": clip.cluster == row.cluster,
        "stratum": clip.stratum == row.stratum,
        "reference": clip.reference == row.reference or normaliser.normalise(clip.reference) == normaliser.normalise(row.reference),
    }
    for field, agrees in same.items():
        if not agrees:  # what was said stays out of messages and logs
            raise InvalidMessage(f"evaluation {name}, utterance {clip.utterance_id}: expected the {field} of the dataset, found another")


def _twice(name: str, utterance: str, what: str) -> InvalidMessage:
    return InvalidMessage(f"evaluation {name}: expected each utterance once, found {utterance} more than once among the {what}")


def _refuse(name: str, problem: str, utterances: Iterable[str]) -> None:
    found = sorted(utterances)
    if found:
        some = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise InvalidMessage(f"evaluation {name}: expected one row for each clip, found {len(found)} {problem}: {some}")
