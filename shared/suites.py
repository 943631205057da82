"""Regression suites: clips that a model must stay good on, in immutable versions.

corpora/suites/<name>/manifest.jsonl            the clips in force: what the launcher reads
corpora/suites/<name>/versions/<sha256>.jsonl   every version that there was, under the digest of its bytes
corpora/suites/<name>/suite.json                margin, frozen or not, the versions in order; CAS

A version is written first, then `suite.json` names it, then the manifest is replaced: whoever dies in between repeats it all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from shared import keys
from shared.cas import Decision, apply_with_cas, create, document_codec, find_document
from shared.corpora import Corpus, CorpusClip, count_speakers, count_words, replace_corpus
from shared.documents import Frozen, lines_bytes, sha256_hex
from shared.events import Digest
from shared.objectstore import ObjectStore

DEFAULT_MARGIN = 0.015
"""Rise of WER that a suite bears where nobody said otherwise: one and a half points."""
SUITE_NAME = r"^[a-z0-9_-]{1,54}$"
"""With `suite-` before it, it is the name of a set of clips."""
_MANIFEST = "/manifest.jsonl"


Margin = Annotated[float, Field(gt=0, le=1)]


class SuiteVersion(Frozen):
    """One state of a suite, for ever.

    Attributes:
        sha256: of its clips as stored, which names them.
        words: reference words under the normaliser in force when it was made.
        by: who made it, as they claim.
        change: what they did.
    """

    sha256: Digest
    clips: Annotated[int, Field(ge=0)]
    speakers: Annotated[int, Field(ge=0)]
    words: Annotated[int, Field(ge=0)]
    created_at: AwareDatetime
    by: str
    change: str


class SuiteInfo(Frozen):
    """What is known of a suite beside its clips.

    Attributes:
        margin: how much WER may rise on it (absolute, one-sided upper confidence limit) and still count as no worse.
        frozen: nothing is added or removed any more; a person's right to be forgotten goes before it.
        versions: oldest first; one digest may come again.
    """

    v: Literal[1] = 1
    name: Annotated[str, Field(pattern=SUITE_NAME)]
    margin: Margin = DEFAULT_MARGIN
    frozen: bool = False
    versions: tuple[SuiteVersion, ...] = ()


INFO = document_codec(SuiteInfo, what="suite.json")


def suite_names(store: ObjectStore) -> list[str]:
    """Return the suites that have clips in force."""
    found = (info.key.removeprefix(keys.SUITES) for info in store.list(keys.SUITES))
    return [name.removesuffix(_MANIFEST) for name in found if name.endswith(_MANIFEST)]


def find_suite(store: ObjectStore, name: str) -> SuiteInfo | None:
    """Return what is known of a suite beside its clips; None where nothing is."""
    return find_document(store, keys.suite_info(name), SuiteInfo)


def margin_of(store: ObjectStore, name: str) -> float:
    """Return the margin that is stored with a suite."""
    info = find_suite(store, name)
    return info.margin if info else DEFAULT_MARGIN


@dataclass(frozen=True)
class Change:
    """What is done to a suite.

    Attributes:
        clips: all that it shall hold; none = it goes, its versions stay.
        read: what it held when the clips were chosen.
        said: what was done, for people.
        by: who did it.
        margin: a new one; None = as it was.
        force: also where it is frozen.
    """

    clips: Sequence[CorpusClip]
    read: Corpus
    said: str
    by: str
    margin: float | None = None
    force: bool = False


def write_suite(store: ObjectStore, name: str, change: Change, now: datetime) -> bool:
    """Make a version of these clips and put it in force: the version, then what is known of the suite, then the manifest.

    Returns:
        False where it is frozen: nothing was changed then.

    Raises:
        Conflict: somebody else changed it meanwhile.
    """
    data = lines_bytes(change.clips)
    made = SuiteVersion(
        sha256=sha256_hex(data),
        clips=len(change.clips),
        speakers=count_speakers(change.clips),
        words=count_words(change.clips),
        created_at=now,
        by=change.by,
        change=change.said[:500],
    )
    if change.clips:
        create(store, keys.suite_version(name, made.sha256), data, content_type="application/x-ndjson")

    def decide(info: SuiteInfo | None) -> Decision[SuiteInfo]:
        if info is not None and info.frozen and not change.force:
            return Decision(None, reason="frozen")
        known = info or SuiteInfo(name=name)
        same = bool(known.versions) and known.versions[-1].sha256 == made.sha256
        update = {"versions": known.versions if same else (*known.versions, made), "margin": change.margin or known.margin}
        return Decision(known.model_copy(update=update))

    if apply_with_cas(store, keys.suite_info(name), INFO, decide).state is None:
        return False
    replace_corpus(store, keys.suite(name), change.clips, change.read.generation)
    return True
