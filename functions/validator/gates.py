"""The ways in which speech models fail that a word error rate hides: silence, loops, inventions, lost terms; and what serving costs.

False alarms: three families of tests, silence, the other kinds of failure, and critical terms, each at alpha over all sets and kinds
together (Holm). What is tested is a rise by more than the policy bears, so that alpha bounds the refusals of a candidate at the very edge
of it; one that fails as often as the model in production is refused far more rarely. Critical terms bear no rise: there alpha is the bound
for an equal candidate. Measured in `tests.benchmarks.gate_false_alarms`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from functions.validator.counting import MODELS, Words
from functions.validator.judged_set import JudgedSet
from functions.validator.rules import Finding, GatePolicy
from shared.multiplicity import holm
from shared.verdict import GateNumbers
from shared.wer_stats import ClusterTotals, sign_flip_test
from shared.wording import percent

Column = NDArray[Any]


@dataclass(frozen=True)
class Kind:
    """A kind of failure.

    Attributes:
        name: for the report.
        column: of `counting.ROW`, after the model's name.
        whole: what the rate is a share of, for each row.
        what: completes "the candidate ...".
    """

    name: str
    column: str
    whole: Callable[[JudgedSet], Column]
    what: str


def _speech(judged: JudgedSet) -> NDArray[np.bool_]:
    return np.asarray(judged.rows["holds_speech"])


SILENCE = Kind("empty output", "empty", _speech, "returns nothing for {rate} of the utterances of {set} that hold speech")
KINDS = (
    Kind("loops", "loop", lambda judged: np.ones(judged.utterances), "says a phrase over and over in {rate} of the utterances of {set}"),
    Kind("invented words", "invention", _speech, "invents words in a row in {rate} of the utterances of {set} that hold speech"),
    Kind("words on silence", "on_silence", lambda judged: ~_speech(judged), "hears words in {rate} of what holds no speech in {set}"),
    Kind("deletions", "deletions", lambda judged: judged.rows["words"], "loses {rate} of the words of {set}"),
    Kind("insertions", "insertions", lambda judged: judged.rows["words"], "adds {rate} of the words of {set}"),
    Kind("character errors", "char_errors", lambda judged: judged.rows["chars"], "has a character error rate of {rate} on {set}"),
)


@dataclass(frozen=True)
class _Counted:
    """One kind of failure, or one term, on one set."""

    gate: str
    set_name: str
    what: str
    bearable: float

    @property
    def key(self) -> str:
        """What names it among the tests of its family."""
        return f"{self.gate} on {self.set_name}"


@dataclass(frozen=True)
class _Tested:
    """What the counts show.

    Attributes:
        base, candidate: rates; None = nothing to count.
        p_value: one-sided, for a rise beyond what is bearable.
        smallest_p: the least that these clusters could have given.
    """

    counted: _Counted
    base: float | None = None
    candidate: float | None = None
    p_value: float = 1.0
    smallest_p: float = 1.0

    @property
    def rises(self) -> bool:
        """The rate rises by more than is bearable."""
        return self.base is not None and self.candidate is not None and self.candidate - self.base > self.counted.bearable


def judge_failures(sets: Sequence[JudgedSet], policy: GatePolicy, seed: int) -> Iterator[tuple[GateNumbers, Finding | None]]:
    """Count every kind of failure before and after, and refuse what rises significantly by more than is bearable.

    Test: cluster sign-flip of D_g - bearable * N_g, the weighted rise of a cluster's count beyond what is bearable of its whole, one-sided;
    resampling unit the speaker or call. Except for silence, utterances where
    production's own transcript stands for the reference are left out: there every change, a mended error too, would count as a failure.

    Args:
        sets: the holdout and the suites that the policy names, counted with its critical terms.
        policy: the gate's numbers.
        seed: of the sampled tests.
    """
    trusted = [judged.where(~judged.is_reference_of("champion")) for judged in sets]
    silence = [_test(judged, SILENCE, policy, seed) for judged in sets]
    others = [_test(judged, kind, policy, seed) for judged in trusted for kind in KINDS]
    lost = [tested for judged in trusted for tested in _test_terms(judged, policy.critical_terms, seed)]
    for family in (silence, others, lost):
        refused = _refused(family, policy.alpha)
        for tested in family:
            yield _conclude(tested, policy.alpha, failed=tested.counted.key in refused)


def _test(judged: JudgedSet, kind: Kind, policy: GatePolicy, seed: int) -> _Tested:
    base, candidate = (judged.rows[f"{model}_{kind.column}"] for model in MODELS)
    totals = judged.totals(kind.whole(judged), base, candidate)
    return _tested(totals, _Counted(kind.name, judged.name, kind.what, policy.max_failure_rise), seed)


def _test_terms(judged: JudgedSet, terms: Sequence[Words], seed: int) -> Iterator[_Tested]:
    """Test each term's misses, and those of all terms together; what a reference never says cannot be tested."""
    for number, term in (*enumerate(terms), (None, ("all", "terms"))):
        hits = judged.terms if number is None else judged.terms[judged.terms["term"] == number]
        if not len(hits) or (number is None and len(terms) < 2):
            continue
        said, base, candidate = (
            np.bincount(hits["row"], weights=hits[column], minlength=judged.utterances) for column in ("said", *MODELS)
        )
        totals = judged.totals(said, said - base, said - candidate)
        name = "critical terms" if number is None else f"critical term {' '.join(term)}"
        yield _tested(totals, _Counted(name, judged.name, f"misses {{rate}} of the times that {name} is said in {{set}}", 0.0), seed)


def _tested(totals: ClusterTotals, counted: _Counted, seed: int) -> _Tested:
    whole = float(totals.words.sum())
    if whole == 0.0:
        return _Tested(counted)
    base, candidate = float(totals.base_errors.sum()) / whole, float(totals.candidate_errors.sum()) / whole
    smallest_p = 2.0 ** -int(np.count_nonzero(totals.deltas))
    # A test of a rise cannot refuse what does not rise: spare the draws.
    beyond = totals.deltas - counted.bearable * totals.words
    p_value = sign_flip_test(-beyond, seed).p_value if candidate - base > counted.bearable else 1.0
    return _Tested(counted, base, candidate, p_value, smallest_p)


def _refused(family: Sequence[_Tested], alpha: float) -> frozenset[str]:
    """Return what fails: it rises significantly by more than is bearable, among its family.

    Which tests could reach alpha at all depends on how many clusters differ, not on the direction, so that the others need not count
    (R. E. Tarone, Biometrics 46 (1990) 515-522). What does not rise counts, with p = 1.
    """
    return frozenset(holm({tested.counted.key: tested.p_value for tested in family if tested.smallest_p <= alpha}, alpha))


def _conclude(tested: _Tested, alpha: float, *, failed: bool) -> tuple[GateNumbers, Finding | None]:
    counted, known = tested.counted, tested.base is not None and tested.candidate is not None
    unsure = tested.rises and tested.smallest_p > alpha
    text = _in_words(tested, failed=failed, unsure=unsure)
    numbers = GateNumbers(
        gate=counted.gate,
        set_name=counted.set_name,
        base=tested.base,
        candidate=tested.candidate,
        bearable=counted.bearable,
        p_value=tested.p_value if known else None,
        result="failed" if failed else "not testable" if unsure else "passed" if known else "not measured",
        finding=text,
    )
    finding = Finding("rejects", counted.set_name, text, f"the rate of {counted.gate} rises on {counted.set_name}") if failed else None
    return numbers, finding


def _in_words(tested: _Tested, *, failed: bool, unsure: bool) -> str:
    counted = tested.counted
    if tested.base is None or tested.candidate is None:
        return "Nothing to count."
    does = counted.what.format(rate=percent(tested.candidate), set=counted.set_name)
    said = f"The candidate {does}, the model in production {percent(tested.base)}"
    if failed:
        return f"{said}; a rise by more than {percent(counted.bearable)} is refused, p = {tested.p_value:.4f}."
    if unsure:
        return f"{said}: too few speakers or calls differ to be sure."
    return f"{said}: chance can explain the rise." if tested.rises else f"{said}."
