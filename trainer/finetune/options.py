"""The flags of `retune finetune`: read, checked all together, frozen."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from shared.documents import Frozen
from shared.errors import RetuneError
from shared.gold import GoldConfig
from shared.training import LoraConfig, SpecAugment, TrainingConfig

DEFAULT_MODEL = "facebook/wav2vec2-base-960h"
ALPHA_PER_RANK = 2
"""Alpha where only the rank is given: the ratio of the defaults and of the published recipes."""
FOLDER = TrainingConfig(epochs=30, patience=None, spec_augment=SpecAugment(time_share=0.2, channel_share=0.1))
"""What suits a folder of some hundred clips: long, with masks, and the best epoch. On five splits of 200 synthetic clips half of the
update then changed the WER by -10.1 points on noisy and +0.4 on clean held-out clips; without masks, stopped early, by -6.3 and +0.4."""
GoldChoice = Literal["human", "llm", "both"]


class Options(Frozen):
    """What a person asked for; None = what `FOLDER` says.

    Attributes:
        audio_dir: with `clean/`, `noisy/` and transcripts.
        output_dir: of one run, empty at its start.
        model: a local folder or a name on the Hugging Face hub.
        no_lora: train everything but the convolutions.
        gold: whose word the references are; in `both` a person's wins.
        max_hours: wall-clock limit of the training.
        llm: how to ask for gold; None with `human`.
    """

    audio_dir: Path
    output_dir: Path = Path("finetuned")
    model: Annotated[str, Field(min_length=1)] = DEFAULT_MODEL
    num_epochs: Annotated[int, Field(ge=1, le=1000)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=1024)] | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    no_lora: bool = False
    lora_rank: Annotated[int, Field(ge=1, le=512)] | None = None
    lora_alpha: Annotated[float, Field(gt=0)] | None = None
    top_layers: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    max_hours: Annotated[float, Field(gt=0)] | None = None
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] | None = None
    gold: GoldChoice = "human"
    llm: GoldConfig | None = None
    resume: bool = False


class UsageError(RetuneError):
    """Flags that cannot be followed; the text has one problem a line."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Flag:
    """One flag.

    Attributes:
        field: where its value goes: a field of `Options`, or `llm.` and a field of `GoldConfig`.
        env: the variable that is read where the flag is absent.
    """

    name: str
    field: str
    help: str
    metavar: str | None = None
    env: str | None = None

    @property
    def switch(self) -> bool:
        """Whether it takes no value."""
        return self.metavar is None


_GOLD = GoldConfig(base_url="http://unset", model="unset")
FLAGS = (
    Flag("--audio-dir", "audio_dir", "folder with clean/ and noisy/ and their transcripts (required)", "DIR"),
    Flag("--output-dir", "output_dir", "a new or empty folder for everything that is made (default: finetuned)", "DIR"),
    Flag("--model", "model", f"a local folder or a name on the Hugging Face hub (default: {DEFAULT_MODEL})", "MODEL"),
    Flag("--num-epochs", "num_epochs", f"passes over the training clips, at most (default: {FOLDER.epochs})", "N"),
    Flag("--batch-size", "batch_size", f"clips in one batch, at most (default: {FOLDER.batch_size})", "N"),
    Flag("--learning-rate", "learning_rate", "peak of the schedule (default: by the network's size and the method)", "RATE"),
    Flag("--lora-rank", "lora_rank", f"rank of the adapters (default: {LoraConfig().rank})", "N"),
    Flag("--lora-alpha", "lora_alpha", f"alpha/rank scales the adapters (default: {ALPHA_PER_RANK} x rank)", "ALPHA"),
    Flag("--top-layers", "top_layers", "adapt only so many of the topmost layers: faster, less memory (default: all)", "N"),
    Flag("--no-lora", "no_lora", "full fine-tuning: everything but the convolutions learns"),
    Flag("--seed", "seed", "draws the split and the order of training (default: 0)", "N"),
    Flag("--max-hours", "max_hours", "stop training after so long and take the best epoch (default: no limit)", "HOURS"),
    Flag("--language", "language", "of the speech (ISO 639-1), to write numbers out; none: digits cannot be trained on", "CODE"),
    Flag("--gold", "gold", "whose references: human, llm, or both (a person's wins; default: human)", "human|llm|both"),
    Flag("--resume", "resume", "go on with the run in --output-dir"),
    Flag("--llm-base-url", "llm.base_url", "OpenAI-compatible endpoint, as https://api.mistral.ai/v1", "URL", "RETUNE_LLM_BASE_URL"),
    Flag("--llm-model", "llm.model", "pinned id of the model that is asked", "ID", "RETUNE_LLM_MODEL"),
    Flag("--llm-kind", "llm.kind", "chat, or transcription for a model that hears (default: chat)", "chat|transcription"),
    Flag("--llm-send-audio", "llm.send_audio", "a chat model that hears gets the audio, too"),
    Flag("--llm-terms", "llm.terms", "names and words that may occur, separated by commas", "WORDS"),
    Flag("--llm-samples", "llm.samples", f"answers asked for each clip (default: {_GOLD.samples})", "N"),
    Flag("--llm-min-agreement", "llm.min_agreement", f"share of them that must be the same (default: {_GOLD.min_agreement})", "SHARE"),
    Flag("--llm-temperature", "llm.temperature", f"of the samples (default: {_GOLD.temperature})", "T"),
    Flag("--llm-concurrency", "llm.concurrency", f"requests under way at once (default: {_GOLD.concurrency})", "N"),
    Flag("--llm-timeout-s", "llm.timeout_s", f"for one request (default: {_GOLD.timeout_s})", "SECONDS"),
    Flag("--llm-max-tokens", "llm.budget.max_tokens", "ask no more once so many tokens are spent", "N"),
    Flag("--llm-max-usd", "llm.budget.max_usd", "ask no more once so much is spent; needs a price below", "USD"),
    Flag("--llm-usd-per-million-input-tokens", "llm.budget.usd_per_million_input_tokens", "the endpoint's price", "USD"),
    Flag("--llm-usd-per-million-output-tokens", "llm.budget.usd_per_million_output_tokens", "the endpoint's price", "USD"),
    Flag("--llm-usd-per-audio-minute", "llm.budget.usd_per_audio_minute", "the endpoint's price", "USD"),
)
_BY_FIELD = {flag.field: flag for flag in FLAGS}
_EPILOG = "Every flag may be written with underscores as well. The key of the endpoint comes from RETUNE_LLM_API_KEY alone."


def parse_options(arguments: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Return the options that the flags, then the environment, ask for.

    Raises:
        UsageError: with every problem.
        SystemExit: (0) --help was asked for and printed.
    """
    given, problems = _read(arguments, FLAGS, "retune finetune", "Fine-tune wav2vec2 on its errors.")
    problems += _forbidden_together(given)
    raw = _nested(given, environ)
    try:
        options = Options.model_validate(raw)
    except ValidationError as error:
        problems += [_problem(detail) for detail in error.errors(include_url=False) if detail["loc"] != ("llm", "language")]
    if problems:
        raise UsageError(problems)
    return options


def parse_llm(arguments: Sequence[str], environ: Mapping[str, str]) -> GoldConfig:
    """Return the endpoint that the flags, then the environment, name: for a look at it before anything runs.

    Raises:
        UsageError: with every problem.
        SystemExit: (0) --help was asked for and printed.
    """
    flags = [flag for flag in FLAGS if flag.field.startswith("llm.") or flag.field == "language"]
    given, problems = _read(arguments, flags, "retune llm-check", "Try the endpoint that gold transcripts come from.")
    raw = _nested({"--gold": "llm", **given}, environ)
    try:
        config = GoldConfig.model_validate(raw["llm"])
    except ValidationError as error:
        problems += [_problem(detail, "llm.") for detail in error.errors(include_url=False)]
    if problems:
        raise UsageError(problems)
    return config


def training_config(options: Options) -> TrainingConfig:
    """Return how to train."""
    rank = options.lora_rank or LoraConfig().rank
    changes = {
        "seed": options.seed,
        "method": "full" if options.no_lora else "lora",
        "lora": LoraConfig(rank=rank, alpha=options.lora_alpha or float(ALPHA_PER_RANK * rank), top_layers=options.top_layers),
        "epochs": options.num_epochs or FOLDER.epochs,
        "batch_size": options.batch_size or FOLDER.batch_size,
        "learning_rate": options.learning_rate,
        "max_train_s": options.max_hours and options.max_hours * 3600.0,
        "language": options.language,
        # masks change what the lower layers make of a clip in each epoch: then leaving those out would save little
        "spec_augment": FOLDER.spec_augment if options.top_layers is None else None,
    }
    return FOLDER.model_copy(update=changes)


def flag_of(field: str) -> str:
    """Return the name of the flag for a field of `Options`, for a message; behind `llm` stand several."""
    flag = _BY_FIELD.get(field)
    return flag.name if flag else "--llm-..."


class _Parser(argparse.ArgumentParser):
    """Raises what argparse would print and exit with."""

    def error(self, message: str) -> NoReturn:
        raise UsageError([message])


def _read(arguments: Sequence[str], flags: Sequence[Flag], command: str, description: str) -> tuple[dict[str, Any], list[str]]:
    """Return the flags that were given, by name, and a problem for each word that is none."""
    parser = _Parser(prog=command, description=description, epilog=_EPILOG, allow_abbrev=False)
    for flag in flags:
        if flag.switch:
            parser.add_argument(flag.name, dest=flag.name, action="store_true", default=None, help=flag.help)
        else:
            parser.add_argument(flag.name, dest=flag.name, metavar=flag.metavar, help=flag.help)
    known, unknown = parser.parse_known_args([_with_dashes(word) for word in arguments])
    given = {name: value for name, value in vars(known).items() if value is not None}
    return given, [f"{word}: expected a flag of `{command} --help`, found none of this name" for word in unknown]


def _with_dashes(word: str) -> str:
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def _forbidden_together(given: Mapping[str, Any]) -> list[str]:
    problems = []
    if "--no-lora" in given:
        adapters = [name for name in ("--lora-rank", "--lora-alpha", "--top-layers") if name in given]
        problems += [f"{name}: expected no adapters with --no-lora, found both; leave one out" for name in adapters]
    if given.get("--gold", "human") == "human":
        asking = [name for name in given if name.startswith("--llm-")]
        problems += [f"{name}: expected --gold llm or both, found human, which asks no model" for name in asking]
    if "--llm-send-audio" in given and given.get("--llm-kind") == "transcription":
        problems.append("--llm-send-audio: expected --llm-kind chat, found transcription, which always hears the audio")
    return problems


def _nested(given: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the values as `Options` takes them; without --gold llm or both the environment's endpoint is nobody's business."""
    asks = given.get("--gold") in ("llm", "both")
    raw: dict[str, Any] = {}
    for flag in FLAGS:
        value = given.get(flag.name, environ.get(flag.env) or None if flag.env else None)
        if value is None or (flag.field.startswith("llm.") and not asks):
            continue
        *parents, name = flag.field.split(".")
        target = raw
        for parent in parents:
            target = target.setdefault(parent, {})
        target[name] = [term.strip() for term in value.split(",") if term.strip()] if name == "terms" else value
    if asks:
        raw.setdefault("llm", {})
        if "language" in raw:
            raw["llm"]["language"] = raw["language"]
    for name in ("audio_dir", "output_dir"):
        if name in raw:
            raw[name] = Path(raw[name]).expanduser().absolute()
    return raw


def _problem(detail: ErrorDetails, prefix: str = "") -> str:
    field = prefix + ".".join(str(part) for part in detail["loc"])
    flag = _BY_FIELD.get(field)
    name = flag.name if flag else field
    if detail["type"] == "missing":
        return f"{name}: expected a value{f' (or in {flag.env})' if flag and flag.env else ''}, found none"
    if detail["type"] == "value_error":  # says itself what it found, and may have found a password
        return f"{flag_of(field)}: {detail['msg'].removeprefix('Value error, ')}"
    message = detail["msg"].replace("Input should be", "expected").replace("String should match", "expected to match")
    return f"{name}: {message}, found {detail['input']!r}"
