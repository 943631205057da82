"""No speaker, session, recording or utterance ever both trains and judges: over cycles, carry-over, samples, replay and suites.

What is checked is the truth as far as it was told by then, also where a speaker was told late; the model is a set of plain names.
"""

from collections.abc import Collection, Sequence

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shared import keys
from tests.firewall_story import POLICY_HERE, Brought, Chapter, Corpus, Life, Report, chapters
from tests.world import World

SUITES = POLICY_HERE.validation.model_validate({"suites": {"clean": {}, keys.FIXED_SUITE: {}}})


def error(number: int, speaker: str | None = None, session: str | None = None) -> Report:
    return Report("error", number, speaker, session, referenced=True)


def chapter(*reports: Report, brought: Sequence[Brought] = (), emptied: Collection[Corpus] = ()) -> Chapter:
    return Chapter(reports, brought, emptied, accepted=True)


# By the hash of the worlds' key: ben and kim judge, eva and lou train; of lone recordings 0, 2 and 5 train and 1 judges.
TOLD_LATE = [chapter(error(2), error(1, "ben")), chapter(error(5), error(2, "ben"), error(9, "kim"))]
TOLD_LATE_OF_A_SUITE = [chapter(error(2), error(1, "ben"), brought=[Brought("suite", 4, "lou")]), chapter(error(2, "lou"), error(5))]
REPLAY_THAT_IS_GONE = [chapter(error(5), brought=[Brought("replay", 1, "eva")]), chapter(error(1), error(0), emptied=["replay"])]
TWO_IN_A_CALL = [
    chapter(error(2, "eva", "monday"), error(1, "ben", "monday"), error(9, "kim", "monday")),
    chapter(error(5, None, "monday")),
]


# One recording of which two speakers were told before it had a split.
TWO_TOLD_OF_ONE = [
    Chapter([Report("error", 0, None, None, True), Report("error", 0, "ana", None, False)], [], [], accepted=False),
    Chapter([Report("error", 0, "eva", None, False), Report("error", 1, "ana", None, True)], [], [], accepted=False),
]
# One recording of which the replay names two speakers; it judges, and one of them is met again when the replay is gone.
TWO_IN_A_REPLAY_THAT_IS_GONE = [
    chapter(error(0), brought=[Brought("replay", 0, "ben"), Brought("replay", 0, "eva")]),
    chapter(error(0), emptied=["replay"]),
    chapter(error(1, "eva")),
]
# Who is told of a recording by a replay clip that nothing was ever done with.
TOLD_BY_AN_IDLE_CLIP = [
    chapter(error(5), brought=[Brought("replay", 0, "ben")]),
    chapter(error(0), emptied=["replay"]),
    chapter(error(2), error(1, "ben")),
]
# A replay clip of somebody who trains, of whose recording somebody who judges was told.
TOLD_OF_A_REPLAY_CLIP = [
    chapter(error(1, "ana"), brought=[Brought("suite", 4, "eva"), Brought("replay", 1, "lou")]),
    chapter(error(2, "ben"), error(3), error(4, "ben"), brought=[Brought("replay", 2, "ana")]),
]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(TOLD_LATE)
@example(TOLD_LATE_OF_A_SUITE)
@example(REPLAY_THAT_IS_GONE)
@example(TWO_IN_A_CALL)
@example(TWO_TOLD_OF_ONE)
@example(TWO_IN_A_REPLAY_THAT_IS_GONE)
@example(TOLD_BY_AN_IDLE_CLIP)
@example(TOLD_OF_A_REPLAY_CLIP)
@given(st.lists(chapters, min_size=2, max_size=4))
def test_nothing_that_was_trained_on_ever_judges_and_nothing_that_judged_is_ever_trained_on(story: list[Chapter]) -> None:
    Life(World(POLICY_HERE.model_copy(update={"validation": SUITES}))).tell(story)
