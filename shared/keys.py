"""Where every object lies; who writes it, `docs/reference/objects.md` says."""

import re

from shared.errors import CorruptObject, InvalidMessage, brief

MAX_NUMBER = 999_999
"""The last cycle, and so the last version: six digits."""
_NUMBERED = re.compile(r"[^/]+/([0-9]{6})/.*", re.DOTALL)

LEDGERS = "ledger/"
CYCLES = "cycles/"
VERDICTS = "verdicts/"
MODELS = "models/"
QUARANTINE = "quarantine/"
CORPORA = "corpora/"

HEAD = f"{CYCLES}head.json"
PRODUCTION = "registry/production.json"
REGISTRY_LOG = "registry/log/"
GOLD_ANSWERS = "runs/gold-answers/"
"""What language and speech models answered, by the digest of the question: the same question is not paid for twice."""

SPLIT_KEY = f"{CORPORA}split_key"
REPLAY = f"{CORPORA}replay/manifest.jsonl"
MEMORY = f"{CORPORA}memory/manifest.jsonl"
SUITES = f"{CORPORA}suites/"
HOLDOUT = f"{CORPORA}holdout/"
AUDIO = f"{CORPORA}audio/"
RESOLVED = f"{CORPORA}resolved/"
FORGOTTEN = f"{CORPORA}forgotten/"

HOLDOUT_SET = "holdout"
UNLABELLED_SET = "train-unlabelled"
SUITE_SET = "suite-"
"""Names of a cycle's sets of clips that several parts know, see `clips`; behind the last stands the suite's."""
LEARNING_SET = "recheck-learning"
FIXED_SET = "recheck-fixed"
MEMORY_SET = "recheck-memory"
"""Sets that both models hear and that decide nothing: the errors that the cycle trains and tunes with, and those that earlier versions
fixed, held out or learned."""
FIXED_SUITE = "fixed"
"""The suite of held-out errors that a version fixed."""
TOLD = "told.jsonl"
"""Name of what a seal keeps, see `told`: listings look for it."""


def padded(number: int) -> str:
    """Return a cycle number as it stands in keys: six digits, so that keys sort by number.

    Raises:
        InvalidMessage: it is below 0 or has more digits.
    """
    if not 0 <= number <= MAX_NUMBER:
        raise InvalidMessage(f"cycle or version: expected a number of 0-{MAX_NUMBER}, found {brief(number)}")
    return f"{number:06d}"


def ledger(cycle: int) -> str:
    """Folder of a cycle's segments and parts."""
    return f"{LEDGERS}{padded(cycle)}/"


def segments(cycle: int) -> str:
    """What the keys of a ledger's segments begin with."""
    return f"{ledger(cycle)}segment-"


def segment(cycle: int, token: str) -> str:
    """An immutable segment written by one flush."""
    return f"{segments(cycle)}{token}.jsonl"


def parts(cycle: int) -> str:
    """What the keys of a ledger's parts begin with."""
    return f"{ledger(cycle)}part-"


def part(cycle: int, token: str) -> str:
    """A compacted part."""
    return f"{parts(cycle)}{token}.jsonl"


def ledger_index(cycle: int) -> str:
    """The compaction index of a ledger."""
    return f"{ledger(cycle)}index.json"


def cycle(number: int) -> str:
    """Folder of what belongs to a cycle."""
    return f"{CYCLES}{padded(number)}/"


def state(cycle: int) -> str:
    """The state of a cycle; absent while it is collecting."""
    return f"{CYCLES}{padded(cycle)}/state.json"


def declined(cycle: int) -> str:
    """The last recorded refusal to open this cycle."""
    return f"{CYCLES}{padded(cycle)}/declined.json"


def watch(version: int) -> str:
    """What the sweeper has seen of a version on canary or in its guard window."""
    return f"{CYCLES}{padded(version)}/watch.json"


def dataset(cycle: int) -> str:
    """The sealed dataset of a cycle."""
    return f"{CYCLES}{padded(cycle)}/dataset.jsonl"


def told(cycle: int) -> str:
    """What corpora told of recordings when a cycle was sealed, as far as no earlier seal kept it."""
    return f"{CYCLES}{padded(cycle)}/{TOLD}"


def former(cycle: int) -> str:
    """What cycles up to this one say of recordings; how many of them, `shared.former` knows."""
    return f"{CYCLES}{padded(cycle)}/former.jsonl"


def beyond_cycle(cycle: int) -> str:
    """Where a listing of `CYCLES` starts after all that belongs to a cycle and those before it."""
    return f"{CYCLES}{padded(cycle)}0"


def clips(cycle: int, name: str) -> str:
    """A set of clips that the spec of a cycle names."""
    return f"{CYCLES}{padded(cycle)}/clips/{name}.jsonl"


def policy(cycle: int, sha256: str) -> str:
    """The operator's numbers when the cycle's spec was made, under their digest: a launcher that died may have had others."""
    return f"{CYCLES}{padded(cycle)}/policies/{sha256}.json"


def spec(cycle: int) -> str:
    """All that the trainer needs to know."""
    return f"{CYCLES}{padded(cycle)}/spec.json"


def run(cycle: int) -> str:
    """Folder of the trainer's output."""
    return f"runs/{padded(cycle)}/"


def heartbeat(cycle: int) -> str:
    """The trainer's sign of life."""
    return f"{run(cycle)}heartbeat.json"


def progress(cycle: int) -> str:
    """How the trainer's run is doing, for people."""
    return f"{run(cycle)}progress.json"


def evaluation(cycle: int, name: str) -> str:
    """Hypotheses of base and candidate on one set."""
    return f"{run(cycle)}evaluation/{name}.jsonl"


def result(cycle: int) -> str:
    """The trainer's last word, written once."""
    return f"{run(cycle)}result.json"


def gold(cycle: int) -> str:
    """Gold that the trainer made, with its provenance, written once."""
    return f"{run(cycle)}gold.jsonl"


def checkpoints(cycle: int) -> str:
    """Folder of what a later attempt goes on from."""
    return f"{run(cycle)}checkpoints/"


def train_log(cycle: int, attempt: int) -> str:
    """One JSON line per step and epoch of an attempt."""
    return f"{run(cycle)}train-log-{attempt}.jsonl"


def report(cycle: int) -> str:
    """The verdict's numbers."""
    return f"{VERDICTS}{padded(cycle)}/report.json"


def report_html(cycle: int) -> str:
    """The verdict for people."""
    return f"{VERDICTS}{padded(cycle)}/report.html"


def closure(cycle: int) -> str:
    """What became of each production error."""
    return f"{VERDICTS}{padded(cycle)}/closure.jsonl"


def model(version: int) -> str:
    """Folder of a model's files."""
    return f"{MODELS}{padded(version)}/"


def manifest(version: int) -> str:
    """The manifest of a model, written last."""
    return f"{model(version)}manifest.json"


def registry_log(seq: int) -> str:
    """The audit record of one move of the production alias."""
    return f"{REGISTRY_LOG}{seq:08d}.json"


def holdout(cycle: int) -> str:
    """What one dataset added to the accumulated holdout."""
    return f"{HOLDOUT}{padded(cycle)}.jsonl"


def suite(name: str) -> str:
    """The clips of a regression suite."""
    return f"{SUITES}{name}/manifest.jsonl"


def suite_info(name: str) -> str:
    """What is known of a suite beside its clips."""
    return f"{SUITES}{name}/suite.json"


def suite_version(name: str, sha256: str) -> str:
    """The clips of one version of a suite, under the digest of their lines."""
    return f"{SUITES}{name}/versions/{sha256}.jsonl"


def resolved(version: int) -> str:
    """That the errors which a version resolved are kept as cases and reported back."""
    return f"{RESOLVED}{padded(version)}.json"


def audio(sha256: str) -> str:
    """Copied audio that must stay."""
    return f"{AUDIO}{sha256}"


def forgotten(token: str) -> str:
    """What was done to forget a person, under the keyed hash of their name."""
    return f"{FORGOTTEN}{token}.json"


def redaction(name: str) -> str:
    """What became of an object's digest when somebody was forgotten."""
    return f"{FORGOTTEN}digests/{name}.json"


def quarantine(day: str, name: str) -> str:
    """A malformed message with its reason."""
    return f"{QUARANTINE}{day}/{name}.json"


def cycle_of(key: str) -> int:
    """Return the cycle number in a key such as `cycles/000012/state.json`.

    Raises:
        CorruptObject: no number stands there: the object is not one that Retune wrote.
    """
    found = _NUMBERED.fullmatch(key)
    if found is None:
        raise CorruptObject(f"object {key[:200]!r}: expected a name such as cycles/000012/state.json; move it elsewhere")
    return int(found[1])
