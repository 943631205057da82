"""The holdout: which rows of a dataset judge, what of all cycles is in use, and which clips must not be learned for it. Pure."""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Literal

from shared.dataset import Row, clip
from shared.training import AnyClip, Clip


def holdout_clips(rows: Iterable[Row], *, judge_on_llm_gold: bool) -> Iterator[Clip]:
    """Yield what a dataset adds to the holdout: errors with a person's reference, and sampled traffic that nobody reported.

    The served hypothesis stands for the reference of a sample only where no report speaks against it.

    Args:
        rows: of the dataset; they are read three times.
        judge_on_llm_gold: a language model's reference may judge.
    """
    reported = reported_again(rows, lambda row: row.kind == "sample" and row.split == "holdout")
    for row in rows:
        if row.split != "holdout" or row.set_aside is not None or row.audio is None:
            continue
        stratum = judging_stratum(row, reported, judge_on_llm_gold=judge_on_llm_gold)
        if stratum is not None:
            trusted = stratum == "errors" or _trusted(row, judge_on_llm_gold=judge_on_llm_gold)
            plain = row if trusted else row.model_copy(update={"reference": None, "reference_provenance": None})
            yield clip(plain, stratum=stratum)


def reported_again(rows: Iterable[Row], among: Callable[[Row], bool]) -> set[str | None]:
    """Return the utterances of some samples that were reported as errors as well.

    Args:
        rows: of the dataset; they are read twice.
        among: names the samples.
    """
    sampled = {row.utterance_id for row in rows if among(row)}
    return {row.utterance_id for row in rows if row.kind == "error" and row.utterance_id in sampled}


def judging_stratum(row: Row, reported: Container[str | None], *, judge_on_llm_gold: bool) -> Literal["errors", "traffic"] | None:
    """Return the stratum in which a row judges if it is held out; None = it cannot judge."""
    if row.kind == "error":
        return "errors" if _trusted(row, judge_on_llm_gold=judge_on_llm_gold) else None
    return "traffic" if row.kind == "sample" and row.weight is not None and row.utterance_id not in reported else None


def _trusted(row: Row, *, judge_on_llm_gold: bool) -> bool:
    return row.reference is not None and (row.reference_provenance == "human" or judge_on_llm_gold)


def accumulate(batches: Sequence[Sequence[Clip]], cap: int) -> list[Clip]:
    """Return the holdout in use: the newest `cap` utterances, each once.

    An utterance that was sampled *and* reported is known with certainty: it stays in the error stratum with weight 1.

    Args:
        batches: one per cycle, oldest first.
        cap: most utterances in use.
    """
    latest: dict[str, Clip] = {}
    for batch in batches:
        for item in batch:
            present = latest.pop(item.utterance_id, None)
            reported = present if present is not None and present.stratum == "errors" and item.stratum == "traffic" else item
            latest[item.utterance_id] = reported
    return list(latest.values())[-cap:]


def newest_in_use(batches: Iterable[Sequence[Clip]], cap: int) -> list[Clip]:
    """Return the holdout in use like `accumulate`, and ask for no batch beyond those that fill the cap.

    Args:
        batches: one per cycle, newest first, as `fit_to_judge` leaves them: no sample of an utterance that somebody reported is among them,
            so that no older report can take its place.
        cap: most utterances in use.
    """
    newest: list[Sequence[Clip]] = []
    utterances: set[str] = set()
    for batch in batches:
        newest.append(batch)
        utterances.update(item.utterance_id for item in batch)
        if len(utterances) >= cap:
            break
    return accumulate(newest[::-1], cap)


class Apart:
    """Tells which clips share no utterance, no audio and no speaker with what judges.

    The split by speaker keeps most of them apart; this holds also for an utterance whose speaker was told only once.
    """

    def __init__(self, judged: Iterable[Clip]) -> None:
        self._taken = {name for item in judged for name in _ties(item)}

    def __call__(self, item: AnyClip) -> bool:
        """Tell whether a clip is apart from all that judges."""
        return self._taken.isdisjoint(_ties(item))


def _ties(item: AnyClip) -> tuple[tuple[str, str | int], ...]:
    return ("utterance", item.utterance_id), (item.audio.crc32c, item.audio.size_bytes), ("cluster", item.cluster)
