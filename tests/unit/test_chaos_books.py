"""Books that balance, and every way in which they may not: each violation is planted and must be found."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from functions.push import body_of, quarantine
from shared import keys
from shared.cycle import Status
from shared.events import STT_ERRORS
from shared.head import begin_head
from shared.messages import parse_event
from shared.policy import CanaryPolicy
from shared.registry import Canary
from shared.testing import builders
from tests.chaos.audit import RULES, audit
from tests.chaos.books import Books, Outside, Problem, Publish, Seen, Span, Stored
from tests.chaos.reading import incomplete, read_books
from tests.world import POLICY, World, wrong

CANARY = CanaryPolicy(percent=10, session_s=0, min_duration_s=0, max_duration_s=600, min_utterances=1, on_silence="promote", guard_s=0)


@cache
def world() -> World:
    """Return a world in which v1 was promoted after a canary, v2 rejected, v3 rolled back, and cycle 4 is collecting."""
    made = World(POLICY.model_copy(update={"min_error_cases": 12, "holdout_share": 0.5, "canary": CANARY}))
    seen: list[Seen] = []

    def watch(operation: str, key: str) -> None:
        if operation == "put" and (key.endswith(("/state.json", "/spec.json")) or key.startswith("registry/")):
            made.store.after = lambda _operation, _key: None
            seen.append(Seen(key, made.store.get(key).data))
            made.store.after = watch

    made.store.after = watch
    made.seen = seen  # type: ignore[attr-defined]
    made.install_model()
    made.record_calls(range(200))
    for cycle in (1, 2, 3):
        numbers = range(20 * cycle, 20 * cycle + 12)
        made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in numbers), builders.error(numbers[0], reference=None))
        made.publish(*(builders.error(n) for n in numbers[1:]))
        made.settle()
        made.train(cycle, **({"candidate": wrong} if cycle == 2 else {}))
        made.settle()
        made.tick(601)
        made.tick(601)
    made.type("model-commands", '{"rollback": 3}')
    made.publish(builders.error(90, reference=None), builders.correction(25))
    made.settle()
    quarantine(
        made.store, function="collector", reason="expected JSON", body=body_of(b'{"message": {"messageId": "m-bad"}}'), now=made.clock.now()
    )
    assert [str(made.state(cycle).status) for cycle in (1, 2, 3)] == ["deployed", "inconclusive", "rolled_back"]
    return made


@cache
def good() -> Books:
    made = world()
    reports = [Publish(message.message_id, STT_ERRORS, parse_event(message).event_id) for message in made.bus.published(STT_ERRORS)]
    outside = Outside(
        publishes=(*reports, Publish("m-bad", STT_ERRORS, None)),
        announced=frozenset(parse_event(message).event_id for message in made.bus.published("model-events")),
        machines=tuple(made.trainers.list_names()),
        spans=(Span(1, 1, 0, 1), Span(2, 1, 2, 3), Span(3, 1, 4, 5)),
    )
    return read_books(made.store, outside, made.seen)  # type: ignore[attr-defined]


def test_books_of_an_undisturbed_history_balance() -> None:
    assert audit(good()) == ()
    assert len(good().log) >= 5
    assert set(good().datasets) == {1, 2, 3}
    assert good().ledgers[4] == {"e90", "c25"}
    assert good().quarantine[0].message_id == "m-bad"


# how the books are spoilt


def outside(books: Books, **change: Any) -> Books:
    return replace(books, outside=replace(books.outside, **change))


def dataset(books: Books, cycle: int, spoil: Callable[[list[Any]], list[Any]]) -> Books:
    stored = books.datasets[cycle]
    return replace(books, datasets={**books.datasets, cycle: Stored(tuple(spoil(list(stored.document))), stored.sha256)})


def state(books: Books, cycle: int, **change: Any) -> Books:
    return replace(books, states={**books.states, cycle: books.states[cycle].model_copy(update=change)})


def entries(books: Books, cycle: int, *kept: int, at: Any = None) -> Books:
    """Leave only some moves in a cycle's history."""
    history = [books.states[cycle].history[number] for number in kept]
    return state(books, cycle, history=tuple(history), status=history[-1].status)


def move(books: Books, number: int, **change: Any) -> Books:
    """Change a move, in the log and in the alias."""
    log = list(books.log)
    log[number] = log[number].model_copy(update=change)
    assert books.production is not None
    return replace(books, log=tuple(log), production=books.production.model_copy(update={"moves": tuple(log)}))


def production(books: Books, **change: Any) -> Books:
    assert books.production is not None
    return replace(books, production=books.production.model_copy(update=change))


def model(books: Books, version: int, **change: Any) -> Books:
    return replace(books, models={**books.models, version: replace(books.models[version], **change)})


def without(books: Books, field: str, cycle: int) -> Books:
    change: dict[str, Any] = {field: {number: each for number, each in getattr(books, field).items() if number != cycle}}
    return replace(books, **change)


def manifest(books: Books, number: int, **change: Any) -> Books:
    return model(books, number, manifest=books.models[number].manifest.model_copy(update=change))


def trainable(books: Books, cycle: int) -> str:
    return next(row.utterance_id or "" for row in books.datasets[cycle].document if row.trainable and row.origin == "fresh")


def without_utterance(books: Books, cycle: int, utterance: str) -> Books:
    return dataset(books, cycle, lambda rows: [row for row in rows if row.utterance_id != utterance])


def alias_writes(books: Books) -> list[int]:
    return [number for number, seen in enumerate(books.seen) if seen.key == keys.PRODUCTION]


def seen_without(books: Books, number: int) -> Books:
    return replace(books, seen=(*books.seen[:number], *books.seen[number + 1 :]))


def first(books: Books, key: str, *, after: int = 0) -> int:
    return [number for number, seen in enumerate(books.seen) if seen.key == key][after]


def number_of(books: Books, kind: str) -> int:
    return next(number for number, each in enumerate(books.log) if each.kind == kind and number)


def opened_before_the_end(books: Books) -> Books:
    early = books.states[1].history[-1].at.replace(year=2020)
    history = books.states[2].history
    return state(books, 2, history=(history[0].model_copy(update={"at": early}), *history[1:]))


SPOILT: dict[str, list[Callable[[Books], Books]]] = {
    "nothing_waits": [
        lambda books: outside(books, waiting={"launcher-finetune-triggers": 1}),
        lambda books: outside(books, dead={"collector-stt-errors": 2}),
    ],
    "every_report_is_in_its_place": [
        lambda books: outside(books, publishes=(*books.outside.publishes, Publish("m1", STT_ERRORS, "e-lost"))),
        lambda books: outside(books, publishes=(*books.outside.publishes, Publish("m2", "finetune-triggers", None))),
        lambda books: replace(books, ledgers={}),
        lambda books: replace(books, ledgers={}, sealed={4: books.ledgers[4]}),  # behind a seal: nobody will read it
        lambda books: replace(books, quarantine=()),
    ],
    "everything_is_consumed_once": [
        lambda books: dataset(books, 2, lambda rows: [*rows, next(r for r in books.datasets[1].document if r.origin == "fresh")]),
        lambda books: dataset(books, 1, lambda rows: [*rows, rows[0]]),
        lambda books: dataset(books, 2, lambda rows: [*rows, rows[0].model_copy(update={"event_id": "e-new", "origin": "carried"})]),
    ],
    "refusals_have_reasons": [lambda books: replace(books, quarantine=(replace(books.quarantine[0], reason=" "),))],
    "the_open_ledger_is_not_counted_too_low": [lambda books: replace(books, counted=books.exact - 1)],
    "what_was_not_learned_is_carried": [
        lambda books: without_utterance(books, 3, trainable(books, 2)),
        lambda books: without_utterance(books, 3, "u20"),  # waits for its reference since cycle 1
    ],
    "what_is_held_out_stays_so": [lambda books: replace(books, held_out={**books.held_out, 1: frozenset()})],
    "every_document_can_be_read": [lambda books: replace(books, unreadable=(Problem("spec.json", "a spec", "none"),))],
    "histories_are_legal": [
        lambda books: entries(books, 2, 0, 2, 3),
        lambda books: entries(books, 2, 1, 2, 3),
        lambda books: state(books, 2, status=Status.CANCELLED),
        lambda books: state(
            books, 2, history=tuple(e.model_copy(update={"attempt": 3}) if i else e for i, e in enumerate(books.states[2].history))
        ),
    ],
    "no_cycle_is_missing": [
        lambda books: replace(books, head=6),
        lambda books: replace(books, head=2),
        lambda books: replace(books, datasets={cycle: each for cycle, each in books.datasets.items() if cycle != 2}),
        lambda books: replace(books, head=1),
        lambda books: replace(books, head=3, states={cycle: each for cycle, each in books.states.items() if cycle != 3}),
    ],
    "no_cause_opens_two_cycles": [
        lambda books: state(
            books,
            2,
            history=(books.states[2].history[0].model_copy(update={"cause": books.states[1].opened_by}), *books.states[2].history[1:]),
        )
    ],
    "no_attempt_runs_twice": [
        lambda books: state(books, 1, history=(*books.states[1].history[:2], *books.states[1].history[1:])),
        lambda books: replace(
            books,
            results={**books.results, 1: replace(books.results[1], document=books.results[1].document.model_copy(update={"attempt": 7}))},
        ),
    ],
    "trainers_work_one_by_one": [
        lambda books: outside(books, spans=(Span(1, 1, 0, 5), Span(1, 2, 3, 6))),
        lambda books: outside(books, spans=(Span(1, 1, 0, None), Span(1, 2, 3, 6))),
    ],
    "one_cycle_at_a_time": [lambda books: state(state(books, 2, status=Status.TRAINING), 3, status=Status.PREPARING)],
    "cycles_ran_one_by_one": [
        lambda books: replace(books, seen=(*books.seen[:4], *(s for s in books.seen if "000002/state" in s.key), *books.seen[4:])),
        lambda books: seen_without(books, first(books, keys.state(1), after=1)),
        opened_before_the_end,
    ],
    "documents_name_each_other": [
        lambda books: replace(books, datasets={**books.datasets, 1: replace(books.datasets[1], sha256="0" * 64)}),
        lambda books: replace(books, specs={**books.specs, 1: replace(books.specs[1], sha256="0" * 64)}),
        lambda books: replace(books, results={**books.results, 1: replace(books.results[1], sha256="0" * 64)}),
        lambda books: model(books, 2, sha256="0" * 64),
    ],
    "states_have_their_documents": [
        lambda books: without(books, "datasets", 2),
        lambda books: without(books, "specs", 2),
        lambda books: without(books, "results", 2),
        lambda books: without(books, "reports", 3),
        lambda books: replace(
            books,
            reports={
                **books.reports,
                3: replace(books.reports[3], document=books.reports[3].document.model_copy(update={"outcome": "rejected"})),
            },
        ),
    ],
    "models_know_where_they_come_from": [
        lambda books: without(books, "models", 0),
        lambda books: manifest(books, 2, version=1),
        lambda books: manifest(books, 2, dataset_sha256="0" * 64),
        lambda books: manifest(books, 2, spec_sha256="0" * 64),
    ],
    "models_are_whole": [lambda books: model(books, 2, problem="model.safetensors is missing")],
    "everything_named_is_there": [
        lambda books: replace(books, digests={key: each for key, each in books.digests.items() if "dev-errors" not in key}),
        lambda books: replace(books, digests={key: each for key, each in books.digests.items() if "evaluation" not in key}),
        lambda books: replace(books, digests={key: each for key, each in books.digests.items() if "policies" not in key}),
        lambda books: replace(books, digests=dict.fromkeys(books.digests, "0" * 64)),
    ],
    "nothing_is_stray": [
        lambda books: replace(books, keys=books.keys | {"somebody/notes.txt"}),
        lambda books: replace(books, keys=books.keys | {"cycles/000001/notes.json"}),
    ],
    "models_hold_what_they_name": [
        lambda books: replace(books, keys=books.keys | {"models/000001/extra.json"}),
        lambda books: replace(books, keys=books.keys | {"models/000009/model.safetensors"}),
    ],
    "sealed_ledgers_are_consumed": [lambda books: replace(books, sealed={2: frozenset({"e-stranded"})})],
    "nothing_unlearned_is_left_behind": [
        lambda books: without_utterance(books, 3, trainable(books, 2)),
        lambda books: without_utterance(books, 3, "u20"),
    ],
    "no_machine_is_left": [
        lambda books: outside(books, machines=("retune-trainer-000001-1",)),
        lambda books: outside(books, machines=("retune-trainer-000004-1",)),
        lambda books: outside(state(books, 3, status=Status.ACCEPTED), machines=("retune-trainer-000003-1",)),
        lambda books: outside(state(books, 3, status=Status.TRAINING, attempt=2), machines=("retune-trainer-000003-1",)),
    ],
    "the_log_is_whole": [
        lambda books: replace(books, log=books.log[1:]),
        lambda books: replace(books, log=(*books.log[:-1], books.log[-1].model_copy(update={"reason": "another"}))),
        lambda books: move(books, 2, cause=books.log[1].cause),
    ],
    "the_alias_is_what_its_log_says": [
        lambda books: production(books, stable=2),
        lambda books: production(books, withdrawn=()),
        lambda books: production(books, previous=(2, 0)),
        lambda books: production(books, canary=Canary(version=2, percent=10, since=books.log[0].at)),
        lambda books: move(books, number_of(books, "rollback"), stable_after=2),
        lambda books: move(books, number_of(books, "promote"), stable_before=2),
    ],
    "every_move_was_justified": [
        lambda books: move(books, 0, override=False),
        lambda books: move(books, 0, reason=""),
        lambda books: move(books, number_of(books, "promote"), report_sha256="0" * 64),
        lambda books: model(books, 1, sha256="0" * 64),
        lambda books: replace(
            books,
            reports={
                **books.reports,
                1: replace(books.reports[1], document=books.reports[1].document.model_copy(update={"base_version": 7})),
            },
        ),
    ],
    "what_serves_is_complete": [
        lambda books: model(books, 1, problem="model.safetensors is missing"),
        lambda books: without(books, "models", 0),
    ],
    "no_result_is_thrown_away": [lambda books: state(books, 2, status=Status.FAILED)],
    "the_alias_is_there": [lambda books: replace(books, production=None, keys=books.keys - {keys.PRODUCTION})],
    "the_alias_named_complete_models": [
        lambda books: replace(books, seen=(*books.seen, Seen("registry/other", b"", incomplete="v1: model.safetensors is missing"))),
    ],
    "moves_are_completed_one_by_one": [
        lambda books: seen_without(books, alias_writes(books)[1]),
        lambda books: seen_without(books, first(books, keys.registry_log(1))),
    ],
    "cycles_know_what_became_of_them": [
        lambda books: state(books, 3, status=Status.DEPLOYED),
        lambda books: state(books, 1, status=Status.CANARY),
        lambda books: replace(books, production=None, log=()),
    ],
    "every_move_was_announced": [lambda books: outside(books, announced=frozenset())],
}
CASES = [(rule, number) for rule, ways in SPOILT.items() for number in range(len(ways))]


@pytest.mark.parametrize(("rule", "number"), CASES)
def test_every_violation_that_is_planted_is_found(rule: str, number: int) -> None:
    found = audit(SPOILT[rule][number](good()))
    assert rule in {breach.rule for breach in found}, found


def test_each_rule_has_a_violation_that_shows_it() -> None:
    assert set(SPOILT) == {rule.__name__ for rule in RULES}


def test_a_breach_reads_as_a_sentence() -> None:
    (breach,) = audit(replace(good(), counted=good().exact - 1))
    assert str(breach) == (
        "the open ledger is not counted too low: ledger/000004/: expected at least the 1 errors that it holds to be counted, found 0"
    )


def test_what_the_store_lacks_is_seen_by_whoever_reads_it() -> None:
    made = World()
    made.install_model()
    assert incomplete(made.store, (0, None)) is None
    made.store.put(f"{keys.model(0)}model.safetensors", b"other")
    found = incomplete(made.store, (0,))
    assert found is not None
    assert found.startswith("v0: models/000000/model.safetensors is not what the manifest names (5 bytes, CRC32C ")
    made.store.delete(f"{keys.model(0)}model.safetensors")
    assert incomplete(made.store, (0,)) == "v0: models/000000/model.safetensors is missing"
    assert incomplete(made.store, (5,)) == "v5: gs://retune-test/models/000005/manifest.json: expected an object, found none"


def test_a_document_that_its_reader_refuses_is_named() -> None:
    made = World()
    made.install_model()
    begin_head(made.store)  # what a sweep would do
    made.store.put(keys.spec(1), b"{}")
    (problem,) = read_books(made.store, Outside()).unreadable
    assert (problem.where, problem.found) == (keys.spec(1), "spec: expected a valid TrainingSpec, found cycle: Field required")
