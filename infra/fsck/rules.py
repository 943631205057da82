"""Every rule that a store at rest keeps, and what to do where one does not hold."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from infra.fsck import alias_rules, cycle_rules, event_rules, strays
from infra.fsck.books import Books, Problem
from shared.alias import ALIAS_LOST

RESTORE = "restore the newest noncurrent generation of the object (docs/guides/operations.md, After a loss), then look again"
COMPARE = "compare with the noncurrent generations of both objects and restore the pair that belongs together; "
Check = Callable[[Books], Iterator[Problem]]


@dataclass(frozen=True)
class Rule:
    """Something that must hold, and what to do where it does not."""

    check: Check
    advice: str

    @property
    def name(self) -> str:
        """The rule in a few words, with underscores."""
        return self.check.__name__


RULES = (
    Rule(cycle_rules.every_document_can_be_read, f"{RESTORE}; a segment that stays unreadable makes the next seal fail"),
    Rule(
        event_rules.everything_is_consumed_once,
        f"keep the datasets as they are: models were trained on them. {RESTORE} if one was replaced",
    ),
    Rule(event_rules.refusals_have_reasons, "read the object: its body is the message; delete it once it is of no use"),
    Rule(
        event_rules.the_open_ledger_is_not_counted_too_low, "errors are there but do not count: `retune trigger` starts on the exact count"
    ),
    Rule(
        event_rules.sealed_ledgers_are_consumed,
        "these events are in no dataset: `retune registry recollect` puts them into the open ledger",
    ),
    Rule(event_rules.what_was_not_learned_is_carried, f"{RESTORE}; a row that is lost for good must be sent again by the service"),
    Rule(event_rules.what_is_held_out_stays_so, f"{RESTORE}: with a smaller holdout a verdict rests on less"),
    Rule(cycle_rules.histories_are_legal, f"somebody wrote the state by hand: {RESTORE}"),
    Rule(cycle_rules.no_cycle_is_missing, f"stop the functions first: {RESTORE}"),
    Rule(cycle_rules.no_cause_opens_two_cycles, "look at both cycles in `retune status`; cancel the later one if it still runs"),
    Rule(
        cycle_rules.no_attempt_runs_twice,
        "two trainers may have worked at once: do not promote this cycle's model, roll it back if it serves",
    ),
    Rule(cycle_rules.one_cycle_at_a_time, f"`retune cancel` the later cycle, or {RESTORE} of the state that ended"),
    Rule(cycle_rules.documents_name_each_other, f"{COMPARE}until then do not promote this cycle's model"),
    Rule(cycle_rules.states_have_their_documents, f"{RESTORE}; without it the cycle's evidence cannot be checked again"),
    Rule(cycle_rules.models_know_where_they_come_from, f"{COMPARE}a base that is gone cannot be trained from"),
    Rule(cycle_rules.everything_named_is_there, f"{RESTORE}; without it nobody can repeat the verdict"),
    Rule(alias_rules.the_alias_is_there, ALIAS_LOST),
    Rule(
        alias_rules.the_log_is_whole, f"the alias is the truth for services; {RESTORE} of the log, or of the alias if it is behind its log"
    ),
    Rule(alias_rules.the_alias_is_what_its_log_says, f"stop the deployer, and {RESTORE} of registry/production.json"),
    Rule(
        alias_rules.every_move_was_justified,
        f"{RESTORE} of report and manifest; else `retune rollback` or a promotion with an override and a reason",
    ),
    Rule(alias_rules.what_serves_is_complete, f"`retune rollback` if it serves and cannot be loaded; {RESTORE}"),
    Rule(alias_rules.models_are_whole, f"do not promote it; {RESTORE}; `retune models verify` says more of its files"),
    Rule(alias_rules.cycles_know_what_became_of_them, "the next move of the alias completes the last one; if it stays, restore the state"),
    Rule(strays.nothing_is_stray, "look who wrote it; delete it if nobody needs it"),
    Rule(strays.models_hold_what_they_name, strays.WITHOUT_MANIFEST),
)
