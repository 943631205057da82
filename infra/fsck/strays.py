"""Objects that no part of the product writes, or that belong to nothing. Pure."""

import re
from collections.abc import Iterator

from infra.fsck.books import Books, Problem
from shared import keys
from shared.cycle import Status

_N = r"\d{6,}"
_SHA = r"[0-9a-f]{64}"
KNOWN = re.compile(
    "|".join(
        (
            rf"ledger/{_N}/((segment|part)-[^/]+\.jsonl|index\.json)",
            r"cycles/head\.json",
            rf"cycles/{_N}/(state|declined|watch|spec)\.json",
            rf"cycles/{_N}/(dataset|told|former)\.jsonl",
            rf"cycles/{_N}/clips/[^/]+\.jsonl",
            rf"cycles/{_N}/policies/{_SHA}\.json",
            rf"runs/{_N}/(result|heartbeat|progress)\.json",
            rf"runs/{_N}/gold[^/]*\.jsonl",
            rf"runs/{_N}/train-log-\d+\.jsonl",
            rf"runs/{_N}/(evaluation|checkpoints)/.+",
            r"runs/gold-answers/.+",
            rf"verdicts/{_N}/(report\.json|report\.html|closure\.jsonl)",
            rf"models/{_N}/[^/]+",
            r"registry/production\.json",
            r"registry/log/\d{8,}\.json",
            r"corpora/split_key",
            r"corpora/(replay|memory)/manifest\.jsonl",
            rf"corpora/holdout/{_N}\.jsonl",
            r"corpora/suites/[^/]+/(manifest\.jsonl|suite\.json)",
            rf"corpora/suites/[^/]+/versions/{_SHA}\.jsonl",
            r"corpora/audio/[^/]+",
            rf"corpora/resolved/{_N}\.json",
            r"corpora/forgotten/.+\.json",
            r"quarantine/[^/]+/[^/]+\.json",
        )
    )
)


def nothing_is_stray(books: Books) -> Iterator[Problem]:
    """Every object is one that the product writes."""
    for key in sorted(books.keys):
        if not KNOWN.fullmatch(key):
            yield Problem(key, "an object that a function, a trainer or a command writes", "one that nothing reads")


def models_hold_what_they_name(books: Books) -> Iterator[Problem]:
    """A model's folder holds what its manifest names; a trainer that dies leaves more, until `retune models gc`."""
    for version, names in sorted(_in_folders(books).items()):
        yield from _in_model(books, version, names)


def _in_folders(books: Books) -> dict[int, set[str]]:
    folders: dict[int, set[str]] = {}
    for key in books.keys:
        if key.startswith(keys.MODELS) and KNOWN.fullmatch(key):
            folders.setdefault(keys.cycle_of(key), set()).add(key)
    return folders


def _in_model(books: Books, version: int, names: set[str]) -> Iterator[Problem]:
    model, state = books.models.get(version), books.states.get(version)
    if model is None:
        uploading = keys.manifest(version) not in names and state is not None and state.status in {Status.PREPARING, Status.TRAINING}
        if not uploading:
            found = f"{len(names)} files without one, {min(names)} first"
            yield Problem(keys.manifest(version), "a readable manifest beside a model's files", found, WITHOUT_MANIFEST)
        return
    named = {keys.manifest(version), *(file.key(keys.model(version)) for file in model.manifest.files)}
    for key in sorted(names - named):
        yield Problem(key, "a file that the manifest names", "one that it does not name", BESIDE)


WITHOUT_MANIFEST = (
    "if the manifest was there once, restore its newest noncurrent generation; files of an upload that died go with `retune models gc`"
)
BESIDE = "an attempt that died left it; nobody loads it, and it goes when the model is collected. Delete it if you like"
