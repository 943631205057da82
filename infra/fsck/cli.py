"""`retune registry`: whether what is stored agrees with itself."""

from typing import Annotated

import typer

import infra.fsck.command
import infra.fsck.rebuild_head
import infra.fsck.recollect
from infra.errors import OK, REFUSED
from infra.options import Json
from infra.session import open_session
from infra.terminal import answering, show

registry = typer.Typer(no_args_is_help=True, help="Whether the bucket agrees with itself.")


@registry.command("fsck")
def registry_fsck(
    full: Annotated[bool, typer.Option("--full", help="Also read every byte of every model.")] = False,
    as_json: Json = False,
) -> None:
    """Find every inconsistency of the bucket, and say what to do about each (exit code 1); changes nothing."""
    with answering(), open_session() as session:
        report = infra.fsck.command.fsck(session.ports.store, full=full, now=session.ports.clock.now())
    show(report, infra.fsck.command.render(report), as_json=as_json)
    raise typer.Exit(OK if report.clean else REFUSED)


@registry.command("recollect")
def registry_recollect(as_json: Json = False) -> None:
    """Put events that stand in a sealed ledger and in no dataset into the open ledger, after the head was lost and restored."""
    with answering(), open_session() as session:
        done = infra.fsck.recollect.recollect(session.ports.store)
    text = "\n".join(f"{len(each.event_ids)} events of ledger {each.sealed} are in ledger {each.cycle} now" for each in done)
    show(done, text or "no event is stranded", as_json=as_json)


@registry.command("rebuild-head")
def registry_rebuild_head(as_json: Json = False) -> None:
    """Write a lost cycles/head.json anew, where the states of the cycles say exactly what it was (exit code 1 where they do not)."""
    with answering(), open_session() as session:
        done = infra.fsck.rebuild_head.rebuild_head(session.ports.store)
    newest = "no cycle was opened yet" if done.newest_state is None else f"the newest state is of cycle {done.newest_state}"
    show(done, f"cycle {done.cycle} is collecting: {newest}", as_json=as_json)
