"""The table of Terraform's inputs and outputs is that of the text of infra/."""

import re

import pytest

from infra.readme import INFRA, README, blocks, readme, table

TEXT = """\
variable "size" {
  description = "How large \\"it\\" is: a | b."
  type = list(object({
    cpu  = string
    disk = optional(number, 10)
  }))
  default = [
    { cpu = "1" },
    { cpu = "2" },
  ]

  validation {
    condition     = length(var.size) > 0
    error_message = "size: expected at least one."
  }
}

variable "name" {
  description = "Its name."
  type        = string
}

output "address" {
  description = "Where it is."
  value       = "https://${var.name}"
}
"""


def test_the_table_is_up_to_date() -> None:
    assert readme() == README.read_text(encoding="utf-8"), "other inputs or outputs than infra/README.md: run `make inputs`"


def test_inputs_that_must_be_given_come_first_then_those_with_defaults() -> None:
    assert table(list(blocks(TEXT))).splitlines()[2:6] == [
        "| input | what it is | type | default |",
        "|---|---|---|---|",
        "| `name` | Its name. | `string` | must be given |",
        '| `size` | How large "it" is: a \\| b. | list of object | `[{ cpu = "1" }, { cpu = "2" }]` |',
    ]
    assert table(list(blocks(TEXT))).endswith("| `address` | Where it is. |\n")


def test_every_variable_and_output_is_in_it() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in INFRA.glob("*.tf"))
    names = re.findall(r'^(?:variable|output) "(\w+)"', text, re.MULTILINE)
    assert sorted(re.findall(r"^\| `(\w+)` \|", readme(), re.MULTILINE)) == sorted(names)


def test_a_block_without_description_is_refused() -> None:
    with pytest.raises(ValueError, match='variable "x": expected a description, found none'):
        table(list(blocks('variable "x" {\n  type = string\n}\n')))
