"""Stories of cycles told to the wall between the splits: who reports, what people bring, and what was trained on and judged, in plain names."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import currently_in_test_context, event
from hypothesis import strategies as st

from functions.launcher.seal import read_split_key
from infra.corpora.admission import wall_to_judging, wall_to_training
from shared import keys
from shared.audio_source import AudioPin
from shared.cas import find
from shared.corpora import CorpusClip, Newcomer, crossings
from shared.documents import lines_bytes, parse_document, parse_lines
from shared.head import read_head
from shared.splits import audio_digest
from shared.testing import builders
from shared.training import Clip, TrainingSpec
from tests.world import POLICY, World

POLICY_HERE = POLICY.model_copy(update={"min_error_cases": 10_000, "holdout_share": 0.4, "dev_share": 0.2})
Corpus = Literal["replay", "suite"]
SOUNDS = {3: 2}
"""Utterances whose audio is that of another one."""


@dataclass(frozen=True)
class Report:
    """One event of an utterance, with what it happens to tell."""

    kind: Literal["error", "sample", "correction"]
    number: int
    speaker: str | None
    session: str | None
    referenced: bool


@dataclass(frozen=True)
class Brought:
    """A clip that a person adds to replay or to a suite; its audio may be that of a reported utterance."""

    corpus: Corpus
    number: int
    speaker: str


@dataclass(frozen=True)
class Chapter:
    """What happens until a cycle is forced, and what comes of it."""

    reports: Sequence[Report]
    brought: Sequence[Brought]
    emptied: Collection[Corpus]
    accepted: bool


PEOPLE = ["ana", "ben", "eva"]
numbers = st.integers(0, 5)
reports = st.builds(
    Report,
    kind=st.sampled_from(["error", "error", "sample", "correction"]),
    number=numbers,
    speaker=st.sampled_from([None, *PEOPLE]),
    session=st.sampled_from([None, None, "monday", "tuesday"]),
    referenced=st.booleans(),
)
brought = st.builds(Brought, corpus=st.sampled_from(["replay", "suite"]), number=numbers, speaker=st.sampled_from([*PEOPLE, "lou"]))
chapters = st.builds(
    Chapter,
    reports=st.lists(reports, min_size=1, max_size=8),
    brought=st.lists(brought, max_size=2),
    emptied=st.sets(st.sampled_from(["replay", "suite"])),
    accepted=st.booleans(),
)


def sound(number: int) -> AudioPin:
    return builders.pin(SOUNDS.get(number, number)).model_copy(update={"uri": f"{builders.CALLS}/u{number}.wav"})


@dataclass
class Life:
    """The loop in memory, and in plain names what was told and what was used."""

    world: World = field(default_factory=lambda: World(POLICY_HERE))
    events: int = 0
    untold: list[Report] = field(default_factory=list)
    corpora: dict[str, list[CorpusClip]] = field(default_factory=lambda: {"replay": [], "suite": []})
    company: dict[str, set[str]] = field(default_factory=dict)
    trained: list[Clip] = field(default_factory=list)
    used: dict[str, set[str]] = field(default_factory=lambda: {"train": set(), "dev": set(), "judge": set()})

    def begin(self) -> None:
        self.world.install_model()
        for number in range(10):
            self.world.calls.put(f"u{number}.wav", builders.audio_bytes(SOUNDS.get(number, number)))

    def report(self, report: Report) -> None:
        self.events += 1
        name, at = f"event-{self.events}", self.world.clock.now()
        told: dict[str, Any] = {"event_id": name, "at": at, "speaker_id": report.speaker, "session_id": report.session}
        reference = "fall back" if report.referenced else None
        if report.kind == "correction":
            self.world.publish(builders.correction(report.number, event_id=name, at=at))
        elif report.kind == "sample":
            self.world.publish(builders.sample(report.number, **told, reference=reference))
        else:
            self.world.publish(builders.error(report.number, **told, reference=reference))
        self.untold.append(report)

    def bring(self, item: Brought) -> None:
        """Add a clip as `retune suite add` and `retune replay add` do: not where the wall refuses it."""
        ports = self.world.ports
        made = CorpusClip(
            utterance_id=f"{item.corpus}-{item.number}-{item.speaker}",
            audio=sound(item.number),
            reference="fall back",
            speaker=f"speaker:{item.speaker}",
        )
        wall = wall_to_training(ports) if item.corpus == "suite" else wall_to_judging(ports)
        offered = Newcomer(made.utterance_id, (made.speaker,), (audio_digest(made.audio),))
        if [*crossings([offered], wall, read_split_key(ports))] or made in self.corpora[item.corpus]:
            return
        self.corpora[item.corpus].append(made)
        self.write_corpora()

    def empty(self, corpora: Collection[Corpus]) -> None:
        for corpus in corpora:
            self.corpora[corpus].clear()
        self.write_corpora()

    def write_corpora(self) -> None:
        self.world.store.put(keys.REPLAY, lines_bytes(self.corpora["replay"]))
        self.world.store.put(keys.suite("clean"), lines_bytes(self.corpora["suite"]))

    def force(self, *, accepted: bool) -> None:
        """Force a cycle; check what it trains and judges on; let it be accepted or cancelled."""
        cycle = read_head(self.world.store)
        self.world.type("finetune-triggers", '{"force": true}')
        self.world.settle()
        stored = find(self.world.store, keys.spec(cycle))
        if stored is None:
            return
        self.hear()
        self.check(parse_document(TrainingSpec, stored.data, what="spec"))
        if accepted:
            self.world.train(cycle)
            self.world.settle()
            self.world.type("model-commands", f'{{"promote": {cycle}, "override": true, "reason": "so that it is learned", "by": "ana"}}')
            self.world.settle()
            self.world.tick(POLICY_HERE.canary.guard_s + 60)  # what it fixed becomes cases, which judge here
        else:
            self.world.type("finetune-triggers", '{"cancel": true}')
        self.world.settle()

    def hear(self) -> None:
        """Note what was told until this seal."""
        for report in self.untold:
            if report.kind != "correction":
                names = {name for name in (report.speaker, report.session) if name is not None}
                for recording in (f"u{report.number}", audio_digest(sound(report.number))):
                    self.company.setdefault(recording, set()).update(names)
        self.untold.clear()
        for item in (*self.corpora["replay"], *self.corpora["suite"]):
            for recording in (item.utterance_id, audio_digest(item.audio)):
                self.company.setdefault(recording, set()).add(item.speaker.removeprefix("speaker:"))

    def names(self, clips: Iterable[Clip]) -> set[str]:
        """Return every identity of clips, as far as it was told."""
        recordings = {name for item in clips for name in (item.utterance_id, audio_digest(item.audio))}
        return recordings.union(*(self.company.get(name, set()) for name in recordings))

    def check(self, spec: TrainingSpec) -> None:
        now: dict[str, list[Clip]] = {"train": [], "dev": [], "judge": []}
        for clip_set in (each for each in spec.sets if each.role != "recheck"):  # these decide nothing
            now[clip_set.role.split("_")[0]] += parse_lines(Clip, self.world.store.get(clip_set.ref.key).data, what=clip_set.name)
        self.trained += [*now["train"], *now["dev"]]
        if currently_in_test_context():
            event(f"cycle {spec.cycle} trains on {bool(now['train'])} and judges on {bool(now['judge'])}")
        assert not self.names(self.trained) & self.names(now["judge"]), "what was trained on judges"
        assert not self.names([*now["train"], *now["dev"]]) & self.used["judge"], "what judged is trained on"
        assert not self.names(now["train"]) & self.used["dev"], "what was tuned on is trained on"
        assert not self.names(now["dev"]) & (self.used["train"] | self.names(now["train"])), "what was trained on is tuned on"
        for use, clips in now.items():
            self.used[use] |= self.names(clips)

    def tell(self, story: Iterable[Chapter]) -> None:
        """Go through a story, and check every cycle of it."""
        self.begin()
        for chapter in story:
            self.empty(chapter.emptied)
            for item in chapter.brought:
                self.bring(item)
            for report in chapter.reports:
                self.report(report)
            self.world.settle()
            self.force(accepted=chapter.accepted)
