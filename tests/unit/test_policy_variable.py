"""Terraform's variable `policy` says what the classes of the policy say."""

import re

from infra.policy_variable import TARGET, policy_tf
from shared.policy import Policy

TEXT = policy_tf()


def test_the_file_is_up_to_date() -> None:
    assert TARGET.read_text(encoding="utf-8") == TEXT, "infra/policy.tf is not what shared/policy.py says: run `make policy`"


def test_a_number_has_its_default() -> None:
    assert re.search(r"^    error_rate_threshold    = optional\(number, 0\.15\)$", TEXT, re.MULTILINE)
    assert re.search(r"^    cooldown_s              = optional\(number, 3600\)$", TEXT, re.MULTILINE)


def test_what_is_nothing_by_default_is_null() -> None:
    assert re.search(r"^    max_age_s               = optional\(number\)$", TEXT, re.MULTILINE)


def test_a_nullable_object_is_null_where_the_policy_has_none() -> None:
    gold = TEXT[TEXT.index("    gold = optional(object({") :]
    assert "\n      base_url          = string\n" in gold
    assert "\n    }))\n" in gold


def test_an_object_that_is_always_there_is_filled_from_nothing() -> None:
    canary = TEXT[TEXT.index("    canary = optional(object({") :]
    assert canary.split("\n    }", 1)[1].startswith("), {})\n")


def test_lists_maps_and_tuples_keep_their_types() -> None:
    assert "suites = optional(map(object({\n        margin = optional(number)\n      })), {})" in TEXT
    assert re.search(
        r"^      lambdas += optional\(list\(number\), \[1\.0, 0\.85, 0\.7, 0\.6, 0\.5, 0\.4, 0\.3, 0\.2, 0\.1\]\)$", TEXT, re.MULTILINE
    )
    assert "reverb_rt60_s = optional(tuple([number, number]))" in TEXT


def test_limits_are_checked_at_plan() -> None:
    assert "condition     = var.policy.holdout_share > 0 && var.policy.holdout_share < 1\n" in TEXT
    assert 'error_message = "policy.holdout_share: expected > 0, < 1."\n' in TEXT


def test_a_whole_number_must_be_whole() -> None:
    assert "var.policy.min_speakers >= 1 && floor(var.policy.min_speakers) == var.policy.min_speakers\n" in TEXT


def test_a_choice_is_one_of_its_words() -> None:
    assert 'contains(["promote", "rollback"], var.policy.canary.on_silence)' in TEXT


def test_limits_inside_of_what_may_be_null_hold_only_where_it_is_not() -> None:
    assert "var.policy.gold == null ? true : (var.policy.gold.budget.max_usd == null ? true : (var.policy.gold.budget.max_usd > 0))" in TEXT


def test_what_a_map_holds_is_checked_at_plan_as_well() -> None:
    prices = 'contains(["spot", "standard"], name1) && each1 > 0'
    assert f"length(each0) >= 1 && alltrue([for name1, each1 in each0 : {prices}])" in TEXT
    assert 'error_message = "policy.budget.prices: expected each at least 1, names spot or standard, > 0."\n' in TEXT
    margin = "each0.margin == null ? true : (each0.margin > 0 && each0.margin <= 1)"
    assert f"alltrue([for name0, each0 in var.policy.validation.suites : {margin}])" in TEXT


def test_every_field_of_the_policy_is_there() -> None:
    assert [name for name in Policy.model_fields if not re.search(rf"^    {name} +=", TEXT, re.MULTILINE)] == []
