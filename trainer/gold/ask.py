"""Asks for the gold transcripts of many clips: from the cache, within a budget, so many at once, again where another try helps.

    clip --- sample 0..n-1 --- cache? ---> there: costs nothing
                                 |
                              reserve the worst case ---> does not fit: this clip is `over_budget`
                                 |
                              request, tried again on what may pass
                                 |--- answer                       ---> settle, keep in the cache
                                 |--- only bad answers             ---> this clip has `no_usable_answer`
                                 |--- refused, others were taken   ---> this clip is `refused`
                                 '--- all else                     ---> GoldUnavailable: the run stops

Nothing stands in for an answer: a clip without one has no samples.
"""

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from tenacity import RetryCallState, Retrying, retry_if_exception, sleep_using_event, stop_after_attempt

from shared.errors import RetuneError
from shared.objectstore import ObjectStore
from trainer.gold.budget import BudgetLedger, price_usd
from trainer.gold.cache import AnswerCache
from trainer.gold.problems import GoldUnavailable, Problem, ProblemKind, RequestFailed
from trainer.gold.prompt import ceiling, identity_sha256
from trainer.gold.question import GoldQuestion, GoldTranscriber, Reply, Usage

GoldFailure = Literal["no_usable_answer", "refused", "over_budget"]

FRUITLESS_CLIPS = 5
"""When so many clips are done and none has a usable answer, the rest would fare no better."""

FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0

Sleep = Callable[[float], None]

DOWN: frozenset[ProblemKind] = frozenset({"address", "connection", "timeout", "server"})


@dataclass(frozen=True)
class GoldAnswer:
    """What became of one clip.

    Attributes:
        samples: what the model answered, as it was written, `config.samples` of them; none at all where `failure` says why.
    """

    utterance_id: str
    samples: tuple[str, ...] = ()
    failure: GoldFailure | None = None
    detail: str = ""


@dataclass(frozen=True)
class GoldTotals:
    """What it took.

    Attributes:
        requests: sent, those that failed included.
        usage, usd: as the endpoint reported; a lost answer that may have been billed counts with its worst case.
    """

    requests: int
    usage: Usage
    usd: float


@dataclass(frozen=True)
class GoldAnswers:
    """All answers, in the order of the questions, and what they took."""

    answers: tuple[GoldAnswer, ...]
    totals: GoldTotals


class _Stopped(RetuneError):
    """Another clip has ended the run: this one is not asked any more."""


class _OverBudget(RetuneError):
    """A request does not fit the budget."""


def ask_all(
    transcriber: GoldTranscriber,
    questions: Sequence[GoldQuestion],
    *,
    store: ObjectStore,
    prefix: str,
    on_done: Callable[[GoldAnswer], None] = lambda _: None,
    sleep: Sleep | None = None,
    rng: random.Random | None = None,
) -> GoldAnswers:
    """Ask for the samples of all clips.

    Every usable answer is stored under `prefix` as soon as it is there: whatever stops a run, the next one asks only for the rest.

    Args:
        transcriber: as `trainer.gold.transcribers.open_transcriber` gives it; its config says how many samples, tries and threads.
        questions: the clips; the audio of one is read only while it is asked for.
        store: keeps the answers.
        prefix: goes before every key, with its slash.
        on_done: called on the caller's thread as each clip is done, in no order: moves a progress bar.
        sleep: waits between two tries; the default wakes up when the run stops.
        rng: draws the jitter of those waits.

    Raises:
        GoldUnavailable: the endpoint cannot be asked, or gives no usable answer to any of the first clips.
        CorruptObject: a clip's audio is not what its digest promised.
        Retryable, CommitUnknown: the store is away.
        Exception: whatever `read_audio` of a question raises.
    """
    run = _Run(transcriber, AnswerCache(store, prefix), sleep, rng or random.Random())
    before = transcriber.requests
    answers = _in_threads(run, questions, on_done)
    spent = run.ledger.spent
    totals = GoldTotals(transcriber.requests - before, spent, price_usd(spent, transcriber.config.budget))
    return GoldAnswers(tuple(answers), totals)


def _in_threads(run: "_Run", questions: Sequence[GoldQuestion], on_done: Callable[[GoldAnswer], None]) -> list[GoldAnswer]:
    pool = ThreadPoolExecutor(run.config.concurrency, thread_name_prefix="gold")
    try:
        futures = [pool.submit(run.clip, question) for question in questions]
        for future in as_completed(futures):
            if isinstance(future.exception(), _Stopped):
                continue  # the error that stopped it is another future's
            answer = future.result()
            on_done(answer)
        return [future.result() for future in futures]
    except Exception:
        _abandon(run, pool, wait=True)
        raise
    except BaseException:  # a machine that is taken away, or Ctrl-C: there is no time to wait for requests under way
        _abandon(run, pool, wait=False)
        raise
    finally:
        pool.shutdown(wait=False)


def _abandon(run: "_Run", pool: ThreadPoolExecutor, *, wait: bool) -> None:
    run.stop.set()
    pool.shutdown(wait=wait, cancel_futures=True)


class _Run:
    """One call of `ask_all`; `clip` runs on many threads."""

    def __init__(self, transcriber: GoldTranscriber, known: AnswerCache, sleep: Sleep | None, rng: random.Random) -> None:
        self.config = transcriber.config
        self.ledger = BudgetLedger(self.config.budget)
        self.stop = threading.Event()
        self._transcriber = transcriber
        self._known = known
        self._sleep: Sleep = sleep or sleep_using_event(self.stop)
        self._rng = rng
        self._accepted = threading.Event()  # the endpoint has taken a request of this form
        self._done: list[GoldFailure | None] = []
        self._done_lock = threading.Lock()

    def clip(self, question: GoldQuestion) -> GoldAnswer:
        """Return what became of one clip; an error that ends the run stops the others first."""
        try:
            answer = self._ask(replace(question, read_audio=cache(question.read_audio)))  # one download for all samples and tries
            self._check_fruit(answer)
        except BaseException:
            self.stop.set()
            raise
        return answer

    def _check_fruit(self, answer: GoldAnswer) -> None:
        with self._done_lock:
            self._done.append(answer.failure)
            fruitless = len(self._done) == FRUITLESS_CLIPS and set(self._done) == {"no_usable_answer"}
        if fruitless:
            before = f"None of the first {FRUITLESS_CLIPS} clips has a usable answer. "
            raise GoldUnavailable(Problem("bad_answer", answer.detail), self.config, before)

    def _ask(self, question: GoldQuestion) -> GoldAnswer:
        try:
            samples = tuple(self._sample(question, sample) for sample in range(self.config.samples))
        except _OverBudget as error:
            return GoldAnswer(question.utterance_id, failure="over_budget", detail=str(error))
        except RequestFailed as error:
            return GoldAnswer(question.utterance_id, failure=self._failure(error), detail=error.problem.shown)
        return GoldAnswer(question.utterance_id, samples)

    def _sample(self, question: GoldQuestion, sample: int) -> str:
        digest = identity_sha256(self.config, question, sample)
        text = self._known.find(digest)
        if text is None:
            text = self._known.keep(digest, self._answer(question, sample))
        self._accepted.set()
        return text

    def _failure(self, failed: RequestFailed) -> GoldFailure:
        """Return what the clip's failure is called.

        Raises:
            GoldUnavailable: it is no matter of this clip alone.
        """
        problem = failed.problem
        if problem.kind == "bad_answer":
            return "no_usable_answer"
        if problem.kind == "refused" and self._accepted.is_set():
            return "refused"
        down = f"LLM is down, {self.config.tries} tries failed: " if problem.kind in DOWN else ""
        raise GoldUnavailable(problem, self.config, down) from failed

    def _answer(self, question: GoldQuestion, sample: int) -> str:
        """Return the model's answer, trying again what may pass; one bad answer among the failures shows that the endpoint is there."""
        bad: list[RequestFailed] = []

        def once() -> Reply:
            try:
                return self._request(question, sample)
            except RequestFailed as failed:
                if failed.problem.kind == "bad_answer":
                    self._accepted.set()
                    bad.append(failed)
                raise

        retrying = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, RequestFailed) and error.problem.may_pass),
            stop=stop_after_attempt(self.config.tries),
            wait=self._wait_s,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(once).text
        except RequestFailed as failed:
            if failed.problem.may_pass and bad:
                raise bad[-1] from failed
            raise

    def _request(self, question: GoldQuestion, sample: int) -> Reply:
        """Send one request within the budget."""
        worst = ceiling(self.config, question)
        if not self.ledger.reserve(worst):
            raise _OverBudget(f"expected room for {worst.tokens} tokens, found {self.ledger.spent.tokens} spent: raise the budget of gold")
        used = Usage()
        try:
            if self.stop.is_set():
                raise _Stopped(question.utterance_id)
            reply = self._transcriber.ask(question, sample)
            used = reply.usage or worst
        except RequestFailed as failed:
            answered = failed.problem.maybe_billed or failed.problem.kind == "bad_answer"
            used = failed.usage or (worst if answered else used)
            raise
        finally:
            self.ledger.settle(worst, used)
        return reply

    def _wait_s(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.problem.retry_after_s if isinstance(error, RequestFailed) else None
        return wait_s(state.attempt_number, asked, self._rng.random())


def wait_s(attempt: int, retry_after_s: float | None, draw: float) -> float:
    """Return how long to wait after a failed try: what the endpoint asked for, else exponentially longer, and never all at once.

    Args:
        attempt: the try that failed, from 1.
        retry_after_s: the pause that the endpoint asked for; None = it did not say.
        draw: uniform in [0, 1); spreads the threads that met the same failure.
    """
    if retry_after_s is not None:
        return retry_after_s + draw
    return min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** (attempt - 1)) * (0.5 + draw)
