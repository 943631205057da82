"""What must hold of cycles: one at a time, each runs once, and what it left behind agrees with itself. Pure."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from infra.fsck.books import Books, Problem
from shared import keys
from shared.cycle import MOVES, STARTS, Status

VERDICTS = frozenset({Status.ACCEPTED, Status.REJECTED, Status.INCONCLUSIVE})


def every_document_can_be_read(books: Books) -> Iterator[Problem]:
    """Nothing is stored that its own reader refuses."""
    yield from books.unreadable


def histories_are_legal(books: Books) -> Iterator[Problem]:
    """Every move of every cycle is in the table; attempts count upwards."""
    for cycle, state in books.states.items():
        entries, key = state.history, keys.state(cycle)
        if entries[0].status not in STARTS or (entries[-1].status, state.cycle) != (state.status, cycle):
            found = f"opened as {entries[0].status}, cycle {state.cycle}, {state.status} after {entries[-1].status}"
            yield Problem(key, f"cycle {cycle}, legally opened, where its history leads", found)
        for before, after in pairwise(entries):
            if after.status not in MOVES[before.status]:
                yield Problem(key, f"a legal move from {before.status}", f"{after.status} ({after.reason})")
            if not 0 <= (after.attempt or 1) - (before.attempt or 1) <= 1:
                yield Problem(key, f"attempt {before.attempt} or the next", f"attempt {after.attempt}")


def no_cycle_is_missing(books: Books) -> Iterator[Problem]:
    """Each cycle behind the head has a state, none beyond it has anything, and datasets have no hole."""
    for cycle in range(1, books.head):
        if cycle not in books.states:
            yield Problem(keys.state(cycle), f"a state, since the head is at {books.head}", "none")
    for cycle in range(1, max(books.datasets, default=0)):
        if cycle not in books.datasets:
            yield Problem(keys.dataset(cycle), "a dataset, since a later cycle has one", "none")
    beyond = sorted({key for key in books.keys if _cycle_in(key) > books.head})
    yield from (Problem(keys.HEAD, f"cycle {_cycle_in(key)} or later, since {key} is there", f"cycle {books.head}") for key in beyond[:1])
    documents = {keys.dataset(books.head), keys.spec(books.head), keys.result(books.head), keys.report(books.head)} & books.keys
    if documents and books.head not in books.states:
        yield Problem(keys.state(books.head), f"a state, since {min(documents)} is there", "none")


def _cycle_in(key: str) -> int:
    top, _, rest = key.partition("/")
    number = rest.partition("/")[0]
    return int(number) if top in {"cycles", "ledger", "runs", "verdicts"} and number.isdigit() else 0


def no_cause_opens_two_cycles(books: Books) -> Iterator[Problem]:
    """A request that is delivered again opens nothing again."""
    opened = Counter(state.opened_by for state in books.states.values())
    yield from (Problem(cause, "to open one cycle", f"{times}") for cause, times in opened.items() if times > 1)


def no_attempt_runs_twice(books: Books) -> Iterator[Problem]:
    """Each attempt begins to train at most once, and a result is of one that began."""
    for cycle, state in books.states.items():
        began = Counter(entry.attempt for entry in state.history if entry.status == Status.TRAINING)
        for attempt, times in began.items():
            if times > 1:
                yield Problem(keys.state(cycle), f"attempt {attempt} to begin once", f"{times} times")
        if cycle in books.results and books.results[cycle].document.attempt not in began:
            found = f"attempt {books.results[cycle].document.attempt}"
            yield Problem(keys.result(cycle), f"a result of an attempt that began ({sorted(filter(None, began))})", found)


def one_cycle_at_a_time(books: Books) -> Iterator[Problem]:
    """At most one cycle has not ended."""
    running = [cycle for cycle, state in sorted(books.states.items()) if not state.ended]
    if len(running) > 1:
        yield Problem(keys.CYCLES, "at most one cycle that has not ended", f"cycles {running}")


def documents_name_each_other(books: Books) -> Iterator[Problem]:
    """Digests lead from the report to the result, to the spec and to the dataset: none was written a second time."""
    for cycle, spec in books.specs.items():
        dataset = books.datasets[cycle].sha256 if cycle in books.datasets else None
        if not books.became(keys.dataset(cycle), spec.document.dataset.sha256, dataset):
            yield Problem(keys.dataset(cycle), "the dataset that the spec names", _digest(dataset))
    for cycle, result in books.results.items():
        spec_sha256 = books.specs[cycle].sha256 if cycle in books.specs else None
        if result.document.spec_sha256 != spec_sha256:
            yield Problem(keys.spec(cycle), "the spec that the result was made for", _digest(spec_sha256))
        model = books.models[cycle].sha256 if cycle in books.models else None
        if result.document.manifest.sha256 != model:
            yield Problem(keys.manifest(cycle), "the manifest that the result names", _digest(model))
    for cycle, report in books.reports.items():
        judged = books.results[cycle].sha256 if cycle in books.results else None
        expired = judged is None and books.run_expired(cycle)
        if not expired and not books.became(keys.result(cycle), report.document.result_sha256, judged):
            yield Problem(keys.result(cycle), "the result that the report judges", _digest(judged))


def states_have_their_documents(books: Books) -> Iterator[Problem]:
    """A cycle that trained has dataset and spec, one that was to be judged a result, one that was judged a report that says so."""
    for cycle, state in books.states.items():
        been = {entry.status for entry in state.history}
        wanted = []
        if Status.TRAINING in been:
            wanted += [(keys.dataset(cycle), cycle in books.datasets), (keys.spec(cycle), cycle in books.specs)]
        if Status.VALIDATING in been:
            wanted += [(keys.result(cycle), cycle in books.results or books.run_expired(cycle))]
        yield from (Problem(key, f"an object, since cycle {cycle} is {state.status}", "none") for key, there in wanted if not there)
        for before, after in pairwise(state.history):
            if before.status == Status.VALIDATING and after.status in VERDICTS and after.by == "validator":  # a withdrawal needs none
                report = books.reports.get(cycle)
                said = "no report" if report is None else report.document.outcome
                if said != str(after.status):
                    yield Problem(keys.report(cycle), f"a report that says {after.status}, as the state does", said)


def models_know_where_they_come_from(books: Books) -> Iterator[Problem]:
    """A manifest stands under its own number, and names the dataset, spec and base that are stored."""
    for version, model in books.models.items():
        manifest, key = model.manifest, keys.manifest(version)
        if manifest.version != version:
            yield Problem(key, f"the manifest of v{version}", f"that of v{manifest.version}")
        if manifest.base_version is not None and manifest.base_version not in books.models:
            yield Problem(keys.manifest(manifest.base_version), f"a manifest, since v{version} was trained from it", "none")
        dataset = books.datasets[version].sha256 if version in books.datasets else None
        if manifest.dataset_sha256 is not None and not books.became(keys.dataset(version), manifest.dataset_sha256, dataset):
            yield Problem(keys.dataset(version), f"the dataset that v{version} was made of", _digest(dataset))
        spec = books.specs[version].sha256 if version in books.specs else None
        if manifest.spec_sha256 not in {None, spec}:
            yield Problem(keys.spec(version), f"the spec that v{version} was made by", _digest(spec))


def everything_named_is_there(books: Books) -> Iterator[Problem]:
    """Clip sets, policies and evaluations are what specs and results name."""
    for spec in books.specs.values():
        document = spec.document
        for ref in (*(each.ref for each in document.sets), *([document.policy] if document.policy else [])):
            if not books.became(ref.key, ref.sha256, books.digests.get(ref.key)):
                yield Problem(ref.key, f"the object that the spec of cycle {document.cycle} names", _digest(books.digests.get(ref.key)))
    for result in books.results.values():
        for evaluation in result.document.evaluations:
            ref = evaluation.ref
            expired = ref.key not in books.digests and books.run_expired(result.document.cycle)
            if not expired and not books.became(ref.key, ref.sha256, books.digests.get(ref.key)):
                cycle = result.document.cycle
                yield Problem(ref.key, f"the evaluation that the result of cycle {cycle} names", _digest(books.digests.get(ref.key)))


def _digest(sha256: str | None) -> str:
    return "none" if sha256 is None else f"one with the digest {sha256[:12]}..."
