"""`retune dlq`: what functions refused, and what becomes of it."""

from typing import Annotated

import typer

import infra.dlq.drop
import infra.dlq.letters
import infra.dlq.show
from infra.dlq.quarantine import drop_quarantined, refuse_replay
from infra.errors import OK, REFUSED
from infra.options import By, Json
from infra.session import open_session
from infra.terminal import answering, show
from shared import keys

dlq = typer.Typer(no_args_is_help=True, help="Messages that functions refused: dead letters, and what is in quarantine.")

OneSubscription = Annotated[str | None, typer.Option(help="Only what this subscription's function refused.")]
Everything = Annotated[bool, typer.Option("--all", help="All of them.")]
Wanted = Annotated[str | None, typer.Option("--id", help="Only this message, by its own or the event's id, or an object in quarantine.")]


@dlq.command("list")
def dlq_list(as_json: Json = False) -> None:
    """List dead letters, and what is in quarantine with the reasons."""
    with answering(), open_session() as session:
        report = infra.dlq.letters.list_dead(session)
    show(report, infra.dlq.letters.render(report), as_json=as_json)


@dlq.command("show")
def dlq_show(
    wanted: Annotated[str, typer.Argument(metavar="ID", help="A dead letter, by its own or the event's id, or an object in quarantine.")],
    as_json: Json = False,
) -> None:
    """Show a refused message in full: what it says, who refused it, and why where that is known. It may hold what people said."""
    with answering(), open_session() as session:
        shown = infra.dlq.show.show_refused(session, wanted)
    show(shown, "\n\n".join(infra.dlq.show.render_refused(message) for message in shown), as_json=as_json)


@dlq.command("replay")
def dlq_replay(subscription: OneSubscription = None, wanted: Wanted = None, everything: Everything = False, as_json: Json = False) -> None:
    """Publish dead letters again, with the identity that they had."""
    if everything == (wanted is not None):
        raise typer.BadParameter("say which: --id ID, or --all")
    with answering(), open_session() as session:
        if wanted is not None and wanted.startswith(keys.QUARANTINE):
            refuse_replay(session.ports.store, wanted)
        letters = infra.dlq.letters.replay(session, subscription=subscription, wanted=lambda letter: everything or letter.is_called(wanted))
    text = "\n".join(f"{letter.original_id} to {letter.topic}" for letter in letters) or "nothing to publish again"
    show(letters, text, as_json=as_json)
    raise typer.Exit(OK if letters or everything else REFUSED)


@dlq.command("drop")
def dlq_drop(
    by: By,
    reason: Annotated[str, typer.Option(help="Why; recorded.")],
    subscription: OneSubscription = None,
    wanted: Wanted = None,
    everything: Everything = False,
    as_json: Json = False,
) -> None:
    """Give dead letters up for good, or an object in quarantine; each stays in quarantine, with who dropped it and why."""
    if everything == (wanted is not None):
        raise typer.BadParameter("say which: --id ID, or --all")
    if not reason.strip():
        raise typer.BadParameter("--reason: expected why, found nothing: it is all that is known of the message later")
    if wanted is not None and wanted.startswith(keys.QUARANTINE):
        with answering(), open_session() as session:
            item = drop_quarantined(session.ports.store, wanted, by=by, reason=reason)
        show(item, f"{item.key} is dropped: {item.reason}", as_json=as_json)
        return
    with answering(), open_session() as session:
        dropped = infra.dlq.drop.drop(
            session, subscription=subscription, wanted=lambda letter: everything or letter.is_called(wanted), by=by, reason=reason
        )
    text = "\n".join(f"{each.letter.original_id} is dropped; kept as {each.key}" for each in dropped) or "nothing to drop"
    show(dropped, text, as_json=as_json)
    raise typer.Exit(OK if dropped or everything else REFUSED)
