"""The flags of `retune finetune`."""

from pathlib import Path

import pytest

from shared.training import LoraConfig
from trainer.finetune.options import FLAGS, FOLDER, Options, UsageError, parse_llm, parse_options, training_config

ENDPOINT = {"RETUNE_LLM_BASE_URL": "http://llm.example/v1", "RETUNE_LLM_MODEL": "voxtral-2507"}


def parse(*arguments: str, **environ: str) -> Options:
    return parse_options(["--audio-dir", "calls", *arguments], environ)


def problems(*arguments: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(UsageError) as caught:
        parse(*arguments, **environ)
    return caught.value.problems


def test_the_folder_alone_is_enough() -> None:
    options = parse()
    assert options.audio_dir == Path("calls").absolute()
    assert options.model == "facebook/wav2vec2-base-960h"
    assert options.gold == "human"
    assert training_config(options) == FOLDER


def test_every_flag_of_the_old_spelling_is_understood() -> None:
    old = "--output_dir out --num_epochs 5 --batch_size 4 --learning_rate 3e-5 --lora_rank 8 --lora_alpha 12"
    config = training_config(parse(*old.split()))
    assert (config.epochs, config.batch_size, config.learning_rate) == (5, 4, 3e-5)
    assert config.lora == LoraConfig(rank=8, alpha=12.0)
    assert parse("--num_epochs=5") == parse("--num-epochs", "5")


def test_a_value_with_underscores_stays_as_it_is() -> None:
    assert parse("--model=models/my_model").model == "models/my_model"
    assert parse("--model", "my_model").model == "my_model"


def test_alpha_follows_a_rank_that_comes_alone() -> None:
    assert training_config(parse("--lora-rank", "4")).lora.alpha == 8.0


def test_flags_reach_the_training() -> None:
    config = training_config(parse("--max-hours", "1.5", "--seed", "7", "--top-layers", "6", "--language", "de"))
    assert (config.max_train_s, config.seed, config.lora.top_layers, config.language) == (5400.0, 7, 6, "de")
    assert training_config(parse("--no-lora")).method == "full"


def test_the_topmost_layers_alone_are_trained_without_masks() -> None:
    assert training_config(parse()).spec_augment is not None
    assert training_config(parse("--top-layers", "6")).spec_augment is None


def test_all_problems_come_at_once() -> None:
    found = problems("--num-epochs", "abc", "--no-lora", "--lora-rank", "8", "--seed", "-1", "--language", "english", "--epochs", "3")
    starts = [problem.split(":")[0] for problem in found]
    assert starts == ["--epochs", "3", "--lora-rank", "--num-epochs", "--seed", "--language"]
    assert "found 'abc'" in found[3]


@pytest.mark.parametrize("flag", ["--lora-rank", "--lora-alpha", "--top-layers"])
def test_full_fine_tuning_takes_no_adapters(flag: str) -> None:
    (found,) = problems("--no-lora", flag, "8")
    assert found.startswith(flag)
    assert "--no-lora" in found


@pytest.mark.parametrize("gold", ["llm", "both"])
def test_an_llm_needs_an_endpoint(gold: str) -> None:
    found = problems("--gold", gold)
    assert [problem.split(":")[0] for problem in found] == ["--llm-base-url", "--llm-model"]
    assert "RETUNE_LLM_MODEL" in found[1]


def test_the_endpoint_comes_from_the_environment_unless_a_flag_names_one() -> None:
    llm = parse("--gold", "both", "--llm-model", "mine", "--language", "fr", **ENDPOINT).llm
    assert llm is not None
    assert (llm.base_url, llm.model, llm.language) == ("http://llm.example/v1", "mine", "fr")


def test_what_an_llm_may_cost_reaches_its_config() -> None:
    asked = "--gold llm --llm-kind transcription --llm-samples 5 --llm-max-usd 2 --llm-usd-per-audio-minute 0.003 --llm-max-tokens 9"
    llm = parse(*asked.split(), "--llm-terms", "velora, pay link", **ENDPOINT).llm
    assert llm is not None
    assert (llm.kind, llm.samples, llm.terms) == ("transcription", 5, ("velora", "pay link"))
    assert (llm.budget.max_usd, llm.budget.usd_per_audio_minute, llm.budget.max_tokens) == (2.0, 0.003, 9)


def test_the_environment_alone_asks_nobody() -> None:
    assert parse(**ENDPOINT).llm is None


def test_a_flag_for_an_llm_that_nobody_asks_is_refused() -> None:
    (found,) = problems("--llm-samples", "5", **ENDPOINT)
    assert found.startswith("--llm-samples")


def test_a_limit_in_dollars_needs_a_price() -> None:
    (found,) = problems("--gold", "llm", "--llm-max-usd", "2", **ENDPOINT)
    assert found.startswith("--llm-...: max_usd: expected a price")


def test_a_password_in_an_address_is_not_printed() -> None:
    (found,) = problems("--gold", "llm", "--llm-base-url", "https://me:secret@llm.example/v1", **ENDPOINT)
    assert found.startswith("--llm-base-url")
    assert "secret" not in found


def test_a_model_that_transcribes_is_not_told_to_hear() -> None:
    (found,) = problems("--gold", "llm", "--llm-kind", "transcription", "--llm-send-audio", **ENDPOINT)
    assert found.startswith("--llm-send-audio")


def test_a_flag_without_its_value_is_named() -> None:
    assert problems("--model") == ("argument --model: expected one argument",)


def test_without_a_folder_nothing_starts() -> None:
    with pytest.raises(UsageError, match="--audio-dir"):
        parse_options([], {})


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_options(["--help"], {})
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(flag.name in shown for flag in FLAGS)


def test_options_survive_their_file() -> None:
    options = parse("--gold", "llm", "--lora-rank", "8", **ENDPOINT)
    assert Options.model_validate_json(options.model_dump_json()) == options


def test_a_key_is_never_among_the_options() -> None:
    options = parse("--gold", "llm", RETUNE_LLM_API_KEY="secret", **ENDPOINT)
    assert "secret" not in options.model_dump_json()


def test_an_endpoint_can_be_named_without_a_run() -> None:
    config = parse_llm(["--llm-model", "mine", "--language=de"], ENDPOINT)
    assert (config.base_url, config.model, config.language) == ("http://llm.example/v1", "mine", "de")


def test_an_endpoint_that_is_not_named_is_a_problem_for_each_part() -> None:
    with pytest.raises(UsageError) as caught:
        parse_llm(["--llm-samples", "0", "--num-epochs", "3"], {})
    starts = [problem.split(":")[0] for problem in caught.value.problems]
    assert starts == ["--num-epochs", "3", "--llm-base-url", "--llm-model", "--llm-samples"]
    assert "retune llm-check --help" in caught.value.problems[0]
