"""Regression suites: clips that a model must stay good on, in immutable versions, and how often they were looked at."""

import re
from collections.abc import Sequence

from functions.runtime import Ports
from infra.corpora.admission import Adding, admit, wall_to_training
from infra.corpora.source import Offer, some
from infra.corpora.suite_history import Look, looks_at
from infra.corpora.suite_size import SuiteSize, what_it_shows
from infra.errors import Refused
from shared import keys
from shared.cas import Decision, apply_with_cas, find
from shared.corpora import Corpus, CorpusClip, count_speakers, count_words, load_corpus
from shared.documents import Frozen, parse_lines
from shared.errors import Conflict
from shared.suites import DEFAULT_MARGIN, INFO, SUITE_NAME, Change, SuiteInfo, SuiteVersion, find_suite, suite_names, write_suite
from shared.wer_power import SeenSpread

MANY_LOOKS = 10
"""So many verdicts on the very same clips, and they are no longer fresh evidence (adaptive reuse)."""


SIZED_BY = 10
"""So many newest verdicts tell how much the differences on a suite spread."""


class SuiteView(Frozen):
    """A suite as it is now.

    Attributes:
        named: the policy names it: a candidate must stay good on it.
        version: digest of its clips; None = nothing is in force.
        size: what a test on it can show.
        versions: every state that it had, oldest first.
        looks: verdicts that used it, oldest first.
        looks_at_version: those of them that used the present clips.
    """

    name: str
    named: bool
    frozen: bool
    margin: float
    version: str | None
    size: SuiteSize
    versions: tuple[SuiteVersion, ...] = ()
    looks: tuple[Look, ...] = ()
    looks_at_version: int = 0

    @property
    def worn(self) -> bool:
        """The same clips have judged so often that models are chosen for suiting them."""
        return self.looks_at_version >= MANY_LOOKS


class SuiteAdded(Frozen):
    """What came of `suite add`.

    Attributes:
        added: new clips.
        repeated: clips that were there already.
        left_out: why others are not among them.
        warnings: what is odd about what was offered.
    """

    suite: SuiteView
    added: int
    repeated: int
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]


def add_suite(ports: Ports, name: str, offer: Offer, adding: Adding, margin: float | None = None) -> SuiteAdded:
    """Add clips to a suite, or make it.

    Args:
        ports: the outside world.
        name: of the suite.
        offer: what a person brings.
        adding: how.
        margin: how much WER may rise on it; None = as it was, or `DEFAULT_MARGIN`.

    Raises:
        Refused: it is frozen, the name is taken or cannot be one, or a clip's speaker, session or recording was trained on.
    """
    if not re.fullmatch(SUITE_NAME, name):
        raise Refused(f"suite {name!r}: expected 1-54 of a-z, 0-9, _ and -")
    if name == keys.FIXED_SUITE:
        raise Refused(f"suite {name}: it is made of the errors that versions fixed; give yours another name")
    _refuse_frozen(find_suite(ports.store, name), name)
    present = load_corpus(ports.store, keys.suite(name))
    admitted = admit(ports, offer, present.clips, wall_to_training(ports), name, adding)
    clips = (*present.clips, *admitted.clips)
    if clips:
        said = f"added {len(admitted.clips)} clips of {offer.source}"
        _write(ports, name, Change(clips, present, said, adding.by, margin))
    return SuiteAdded(
        suite=show_suite(ports, name) if clips else _view(ports, name),
        added=len(admitted.clips),
        repeated=admitted.repeated,
        left_out=admitted.left_out,
        warnings=offer.warnings,
    )


def _write(ports: Ports, name: str, change: Change) -> None:
    try:
        written = write_suite(ports.store, name, change, ports.clock.now())
    except Conflict as error:
        raise Refused(f"suite {name}: somebody changed it at the same time; look and try again") from error
    if not written:
        _refuse_frozen(find_suite(ports.store, name), name)


def remove_suite(ports: Ports, name: str, utterances: Sequence[str], *, by: str) -> SuiteView:
    """Take clips out of a suite, or all of it; its versions and their audio stay.

    Raises:
        Refused: there is no such suite or clip, or it is frozen.
    """
    present = _present(ports, name)
    _refuse_frozen(find_suite(ports.store, name), name)
    unknown = sorted(set(utterances) - {item.utterance_id for item in present.clips})
    if unknown:
        raise Refused(f"suite {name}: expected clips that it has, found {some(unknown)}; see `retune suite show {name} --json`")
    kept = [item for item in present.clips if utterances and item.utterance_id not in set(utterances)]
    change = f"removed {len(present.clips) - len(kept)} clips" if kept else "removed"
    _write(ports, name, Change(kept, present, change, by))
    return _view(ports, name)


def freeze_suite(ports: Ports, name: str) -> SuiteView:
    """Let nobody add to a suite or remove from it any more.

    Raises:
        Refused: there is no such suite.
    """
    _present(ports, name)
    apply_with_cas(
        ports.store, keys.suite_info(name), INFO, lambda info: Decision((info or SuiteInfo(name=name)).model_copy(update={"frozen": True}))
    )
    return _view(ports, name)


def list_suites(ports: Ports) -> list[SuiteView]:
    """Return every suite that has clips, and what the policy names beside."""
    named = ports.settings.policy.validation.suites
    return [_view(ports, name) for name in sorted({*suite_names(ports.store), *named})]


def show_suite(ports: Ports, name: str) -> SuiteView:
    """Return a suite with its versions and looks.

    Raises:
        Refused: there is none, and never was.
    """
    if find(ports.store, keys.suite(name)) is None and find_suite(ports.store, name) is None:
        raise Refused(f"suite {name}: expected one of {', '.join(suite_names(ports.store)) or 'none yet'}, found no such suite")
    return _view(ports, name)


def read_clips(ports: Ports, name: str, version: str | None) -> list[CorpusClip]:
    """Return the clips of a suite.

    Args:
        ports: the outside world.
        name: of the suite.
        version: first digits of an earlier version's digest; None = what is in force.

    Raises:
        Refused: there is no such suite or version, or more than one.
    """
    if version is None:
        return list(_present(ports, name).clips)
    info = find_suite(ports.store, name)
    found = sorted({each.sha256 for each in (info.versions if info else ()) if each.clips and each.sha256.startswith(version)})
    if len(found) != 1:
        raise Refused(f"suite {name}: expected one version that begins with {version}, found {len(found)}")
    key = keys.suite_version(name, found[0])
    return parse_lines(CorpusClip, ports.store.get(key).data, what=key)


def _present(ports: Ports, name: str) -> Corpus:
    present = load_corpus(ports.store, keys.suite(name))
    if present.sha256 is None:
        raise Refused(f"suite {name}: expected one of {', '.join(suite_names(ports.store)) or 'none yet'}, found no such suite")
    return present


def _refuse_frozen(info: SuiteInfo | None, name: str) -> None:
    if info is not None and info.frozen:
        raise Refused(f"suite {name}: it is frozen; make another one, with a new name")


def _view(ports: Ports, name: str) -> SuiteView:
    corpus, info = load_corpus(ports.store, keys.suite(name)), find_suite(ports.store, name)
    validation = ports.settings.policy.validation
    margin = info.margin if info else DEFAULT_MARGIN
    if name in validation.suites:
        margin = validation.suites[name].margin or margin
    looks = looks_at(ports, name)
    seen = [SeenSpread(look.sd_d, look.utterances, look.speakers) for look in looks[-SIZED_BY:] if look.sd_d]
    words, speakers = count_words(corpus.clips), count_speakers(corpus.clips)
    return SuiteView(
        name=name,
        named=name in validation.suites,
        frozen=info is not None and info.frozen,
        margin=margin,
        version=corpus.sha256,
        size=what_it_shows(len(corpus.clips), speakers, words, margin, validation.alpha, seen),
        versions=info.versions if info else (),
        looks=tuple(looks),
        looks_at_version=sum(look.suite_version == corpus.sha256 for look in looks if look.suite_version is not None),
    )
