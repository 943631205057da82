"""The demo from beginning to end; each step is one function, and the numbers pass from one to the next."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from functions.runtime import Ports
from infra.local.baseline import MODEL_DIR
from infra.local.corpus import Domain, Utterance
from infra.local.demo.bad_model import serve_bad_model
from infra.local.demo.corpora import add_corpora
from infra.local.demo.measure import Comparison, Meter, compare, fresh_calls
from infra.local.demo.narrate import CycleStory, DemoTimeout, progress_bar, read_state, wait_until
from infra.local.demo.page import write_page
from infra.local.demo.plan import DemoPlan
from infra.local.demo.service import Call, SpeechService
from infra.local.demo.speech_source import People, people, utterances
from infra.local.demo.summary import Outcome, summary
from infra.local.stack import Stack, StackConfig
from infra.local.state_folder import variables_set
from infra.models.importing import import_model
from infra.people import Person
from infra.session import Session, open_session
from shared import events, keys
from shared.bus import Outgoing
from shared.cas import find
from shared.cycle import Status
from shared.objectstore import ObjectStore
from shared.registry import CODEC as PRODUCTION
from shared.registry import Production
from shared.stores import open_store
from shared.verdict import ValidationReport, parse_report
from shared.wer import pooled_wer
from shared.wording import percent
from trainer.process import hush_transformers
from trainer.recogniser import Recogniser

BATCH = 16
TICK_S = 2.0
"""Production has a minute; ten looks are the fewest that decide about a canary."""
CYCLE = 1
ENOUGH = 1.3
"""So many times the threshold is reported before the demo waits for the launcher to have counted."""
ME = Person(by="retune demo")
OK, NOT_IMPROVED = 0, 1


def run(out: Path, plan: DemoPlan, console: Console, *, bad_model: bool = False) -> int:
    """Run the demo; return 0 if the service improved itself, else 1.

    Args:
        out: folder for the stack, the reports and the logs; an earlier demo's is replaced.
        plan: the sizes.
        console: where the story is told.
        bad_model: promote a deliberately bad model at the end, and see it rolled back.
    """
    hush_transformers()
    meter = Meter()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    try:
        outcome = _tell(out, plan, console, meter, bad_model=bad_model)
    except DemoTimeout as error:
        console.print(f"[bold red]The demo stopped:[/bold red] {error}\nLogs: {out / 'stack'}")
        return NOT_IMPROVED
    finally:
        meter.close()
    write_page(out / "report.html", outcome)
    _show(console, outcome, out)
    return OK if outcome.improved else NOT_IMPROVED


def _tell(out: Path, plan: DemoPlan, console: Console, meter: Meter, *, bad_model: bool) -> Outcome:
    who = people(plan)
    config = StackConfig(directory=out / "stack", policy=plan.policy(), tick_s=TICK_S, environ={"RETUNE_HEARTBEAT_S": "1"})
    with Stack(config) as stack, variables_set(stack.env), open_session() as session:
        ports = session.ports
        console.rule("1  A production speech-to-text service", align="left")
        console.print(f"  look at it meanwhile: {stack.console}", highlight=False)
        import_model(ports, str(MODEL_DIR), ME, tell=lambda text: console.print(f"  {text}", highlight=False))
        with progress_bar(console) as bar:
            task = bar.add_task("trusted clips for replay and suite", total=plan.replay_clips + plan.suite_clips)
            add_corpora(ports, plan, who, lambda count: bar.advance(task, count))
        with _service(session, f"gs://{config.calls}", plan, out) as service:
            console.rule("2  Calls move to the phone; errors arrive on Pub/Sub", align="left")
            old = service.router.choose("before").model
            calls = _serve_until_crossed(ports.store, service, plan, who, console)
            console.rule(f"3  Cycle {CYCLE}", align="left")
            batches = _batches(plan, 6, who)
            state = CycleStory(console, ports.store, CYCLE, on_canary=lambda: service.serve(next(batches))).follow()
            report = _report(ports.store, out)
            comparison, follow_s, bad = None, None, None
            if state.status == Status.DEPLOYED:
                console.rule("4  The service follows, and callers it never heard judge", align="left")
                _tell_alias(ports.store, console)
                comparison = _judge_fresh(service, old, plan, who, console)
                if bad_model:
                    console.rule("5  A bad model, promoted on a person's word, and the guard", align="left")
                    bad = serve_bad_model(ports, service, batches, out / "bad-model", console)
                console.rule("A rollback by hand, and the service follows", align="left")
                follow_s = _roll_back(ports, service, console)
    return Outcome(
        served=len(calls),
        wer_phone=pooled_wer(call.errors for call in calls if call.spoken.domain is Domain.CALL_CENTRE),
        wer_office=pooled_wer(call.errors for call in calls if call.spoken.domain is Domain.CLEAN),
        state=state,
        report=report,
        comparison=comparison,
        bad=bad,
        follow_s=follow_s,
        seconds=meter.seconds,
        peak_bytes=meter.close(),
    )


@contextmanager
def _service(session: Session, calls: str, plan: DemoPlan, out: Path) -> Iterator[SpeechService]:
    """Run the demo's speech-to-text service with a subscription of its own."""
    name = "demo-service-model-events"
    session.bus.create_subscription(events.MODEL_EVENTS, name)
    settings = session.ports.settings
    service = SpeechService(
        project=settings.project,
        registry=settings.bucket.removeprefix("gs://"),
        calls=open_store(calls),
        cache=out / "service",
        sample_rate=plan.sample_rate,
        subscription=f"projects/{settings.project}/subscriptions/{name}",
    )
    try:
        if not service.router.wait_for(0, timeout=60.0):
            raise DemoTimeout(f"expected the service to load v0, found {service.router.status()}")
        yield service
    finally:
        service.close()


def _serve_until_crossed(store: ObjectStore, service: SpeechService, plan: DemoPlan, who: People, console: Console) -> list[Call]:
    """Serve calls until the launcher has opened a cycle."""
    batches = _batches(plan, 5, who)
    calls: list[Call] = []
    with progress_bar(console) as bar:
        task = bar.add_task("calls with an error, reported", total=plan.errors)
        while read_state(store, CYCLE) is None:
            reported = sum(call.errors.errors > 0 for call in calls)
            if len(calls) >= plan.calls_at_most or reported >= plan.errors * ENOUGH:
                service.reporter.flush(30.0)
                wait_until(lambda: read_state(store, CYCLE) is not None, "a cycle to open", timeout_s=60.0)
                break
            calls += service.serve(next(batches))
            bar.update(task, completed=min(sum(call.errors.errors > 0 for call in calls), plan.errors))
    wer = pooled_wer(call.errors for call in calls if call.spoken.domain is Domain.CALL_CENTRE)
    console.print(f"  {len(calls)} calls of {plan.callers} callers; WER of v0 on the phone line {percent(wer)}", highlight=False)
    return calls


def _batches(plan: DemoPlan, stream: int, who: People) -> Iterator[list[Utterance]]:
    """Yield calls for ever, a few at a time."""
    spoken = utterances(plan, stream, who.calling, plan.phone_share)
    while True:
        yield list(islice(spoken, BATCH))


def _report(store: ObjectStore, out: Path) -> ValidationReport | None:
    """Keep the validator's page beside the demo's own, and return its report."""
    found, page = find(store, keys.report(CYCLE)), find(store, keys.report_html(CYCLE))
    if page is not None:
        (out / "validation.html").write_bytes(page.data)
    return parse_report(found.data) if found else None


def _judge_fresh(service: SpeechService, old: Recogniser, plan: DemoPlan, who: People, console: Console) -> Comparison:
    """Let callers who never called before call the new model, and the old one beside it."""
    if not service.router.wait_for(CYCLE, timeout=60.0):
        raise DemoTimeout(f"expected the service to load v{CYCLE}, found {service.router.status()}")
    console.print(f"  the service serves v{CYCLE}", highlight=False)
    with console.status("  fresh callers call"):
        spoken = fresh_calls(plan, who)
        return compare(spoken, old, service.router.choose("fresh").model)


def _roll_back(ports: Ports, service: SpeechService, console: Console) -> float:
    """Ask for a rollback as a person types it; return the seconds until the service serves the old model again."""
    started = time.monotonic()
    text = json.dumps({"rollback": True, "by": ME.by, "reason": "the demo shows how"})
    ports.publisher.publish(Outgoing(events.MODEL_COMMANDS, text.encode()))
    wait_until(lambda: service.router.choose("after").version == 0, "the service to serve v0 again", timeout_s=60.0, poll_s=0.02)
    seconds = time.monotonic() - started
    wait_until(lambda: _is(ports.store, Status.ROLLED_BACK), "the cycle to be rolled back", timeout_s=30.0)
    console.print(f"  the service serves v0 again {seconds:.2f} s after the command", highlight=False)
    _tell_alias(ports.store, console)
    return seconds


def _tell_alias(store: ObjectStore, console: Console) -> None:
    """Show the production alias as it stands in the registry."""
    found = find(store, keys.PRODUCTION)
    alias = PRODUCTION.parse(found.data) if found else Production()
    console.print(
        f"  {keys.PRODUCTION}: stable v{alias.stable}, before it {list(alias.previous)}, withdrawn {list(alias.withdrawn)}", highlight=False
    )


def _is(store: ObjectStore, status: Status) -> bool:
    state = read_state(store, CYCLE)
    return state is not None and state.status == status


def _show(console: Console, outcome: Outcome, out: Path) -> None:
    """Print the closing table and the last word."""
    table = Table(title="What the loop did", show_header=False, title_justify="left")
    for name, value in summary(outcome):
        table.add_row(name, value)
    console.print(table)
    console.print(f"Reports: {out / 'report.html'} and {out / 'validation.html'}", highlight=False)
    if outcome.improved:
        console.print("[bold green]The service improved itself.[/bold green]")
    else:
        console.print(f"[bold red]The service did not improve[/bold red]: cycle {CYCLE} is {outcome.state.status}: {outcome.state.reason}")
