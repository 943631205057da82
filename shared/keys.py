"""Where every object lies; one top folder per writer (architecture, section 4)."""

HEAD = "cycles/head.json"
PRODUCTION = "registry/production.json"
SPLIT_KEY = "corpora/split_key"
REPLAY = "corpora/replay/manifest.jsonl"
CYCLES = "cycles/"
MODELS = "models/"
HOLDOUT = "corpora/holdout/"
SUITES = "corpora/suites/"
GOLD_ANSWERS = "runs/gold-answers/"
"""What language and speech models answered, by the digest of the question: the same question is not paid for twice."""
HOLDOUT_SET = "holdout"
UNLABELLED_SET = "train-unlabelled"
SUITE_SET = "suite-"
"""Names of a cycle's sets of clips that several parts know, see `clips`; behind the last stands the suite's."""


def padded(number: int) -> str:
    """Return a cycle number as it stands in keys: six digits, so that keys sort by number."""
    return f"{number:06d}"


def ledger(cycle: int) -> str:
    """Folder of a cycle's segments and parts."""
    return f"ledger/{padded(cycle)}/"


def segment(cycle: int, token: str) -> str:
    """An immutable segment written by one flush."""
    return f"{ledger(cycle)}segment-{token}.jsonl"


def part(cycle: int, token: str) -> str:
    """A compacted part."""
    return f"{ledger(cycle)}part-{token}.jsonl"


def ledger_index(cycle: int) -> str:
    """The compaction index of a ledger."""
    return f"{ledger(cycle)}index.json"


def state(cycle: int) -> str:
    """The state of a cycle; absent while it is collecting."""
    return f"{CYCLES}{padded(cycle)}/state.json"


def declined(cycle: int) -> str:
    """The last recorded refusal to open this cycle."""
    return f"{CYCLES}{padded(cycle)}/declined.json"


def dataset(cycle: int) -> str:
    """The sealed dataset of a cycle."""
    return f"{CYCLES}{padded(cycle)}/dataset.jsonl"


def clips(cycle: int, name: str) -> str:
    """A set of clips that the spec of a cycle names."""
    return f"{CYCLES}{padded(cycle)}/clips/{name}.jsonl"


def spec(cycle: int) -> str:
    """All that the trainer needs to know."""
    return f"{CYCLES}{padded(cycle)}/spec.json"


def run(cycle: int) -> str:
    """Folder of the trainer's output."""
    return f"runs/{padded(cycle)}/"


def heartbeat(cycle: int) -> str:
    """The trainer's sign of life."""
    return f"{run(cycle)}heartbeat.json"


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
    return f"verdicts/{padded(cycle)}/report.json"


def report_html(cycle: int) -> str:
    """The verdict for people."""
    return f"verdicts/{padded(cycle)}/report.html"


def model(version: int) -> str:
    """Folder of a model's files."""
    return f"{MODELS}{padded(version)}/"


def manifest(version: int) -> str:
    """The manifest of a model, written last."""
    return f"{model(version)}manifest.json"


def registry_log(seq: int) -> str:
    """The audit record of one move of the production alias."""
    return f"registry/log/{seq:08d}.json"


def holdout(cycle: int) -> str:
    """What one dataset added to the accumulated holdout."""
    return f"{HOLDOUT}{padded(cycle)}.jsonl"


def suite(name: str) -> str:
    """The clips of a regression suite."""
    return f"{SUITES}{name}/manifest.jsonl"


def audio(sha256: str) -> str:
    """Copied audio that must stay."""
    return f"corpora/audio/{sha256}"


def quarantine(day: str, name: str) -> str:
    """A malformed message with its reason."""
    return f"quarantine/{day}/{name}.json"


def cycle_of(key: str) -> int:
    """Return the cycle number in a key such as `cycles/000012/state.json`."""
    return int(key.split("/")[1])
