"""Writes `infra/README.md`, the table of Terraform's inputs and outputs, from *.tf: `python -m infra.readme`.

Reads text as `terraform fmt` writes it: a block begins and ends in the first column, its arguments are indented by two.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

INFRA = Path(__file__).parent
README = INFRA / "README.md"
_BLOCK = re.compile(r'^(variable|output) "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
_ARGUMENT = re.compile(r"^  (\w+) += (.*?)(?=^  [a-z]|^$|\Z)", re.MULTILINE | re.DOTALL)

INTRODUCTION = """\
# Retune on Google Cloud

Made by `make inputs` from `*.tf`; a test keeps it true. [docs/guides/deploy.md](../docs/guides/deploy.md) walks through it.

    terraform -chdir=infra apply -var project_id=... -var region=...

`project_id` and `region` are all that a first apply needs. `envs/*.tfvars` are examples of whole environments; `bootstrap/` makes
the bucket of Terraform's state; `modules/` are the parts; `tests/` hold the promises (`make infra`); what the default
configuration creates is listed in [tests/infra/inventory.txt](../tests/infra/inventory.txt).
"""


@dataclass(frozen=True)
class Block:
    """A variable or an output.

    Attributes:
        kind: `variable` or `output`.
        name: its name.
        arguments: the text of each argument, as it is written.
    """

    kind: str
    name: str
    arguments: dict[str, str]

    @property
    def description(self) -> str:
        """Its description as text.

        Raises:
            ValueError: it has none.
        """
        found = self.arguments.get("description", "")
        if not found:
            raise ValueError(f'{self.kind} "{self.name}": expected a description, found none: write one')
        return found.strip('"').replace('\\"', '"')


def blocks(text: str) -> Iterator[Block]:
    """Yield the variables and outputs of a file, in its order."""
    for kind, name, body in _BLOCK.findall(text):
        yield Block(kind, name, {key: value.strip() for key, value in _ARGUMENT.findall(body)})


def table(found: list[Block]) -> str:
    """Return the tables of inputs, those that must be given first, and of outputs."""
    variables = sorted((block for block in found if block.kind == "variable"), key=lambda block: ("default" in block.arguments, block.name))
    outputs = sorted((block for block in found if block.kind == "output"), key=lambda block: block.name)
    lines = ["## Inputs", "", "| input | what it is | type | default |", "|---|---|---|---|"]
    for block in variables:
        default = block.arguments.get("default", "")
        shown = f"`{_on_one_line(default)}`" if default else "must be given"
        lines.append(f"| `{block.name}` | {_cell(block.description)} | {_kind(block.arguments['type'])} | {shown} |")
    lines += ["", "`policy` is one typed object: its fields and defaults are in [policy.tf](policy.tf), what each number means in"]
    lines += ["[shared/policy.py](../shared/policy.py).", "", "## Outputs", "", "| output | what it is |", "|---|---|"]
    lines += [f"| `{block.name}` | {_cell(block.description)} |" for block in outputs]
    return "\n".join(lines) + "\n"


def readme() -> str:
    """Return the text of `infra/README.md`."""
    found = [block for path in sorted(INFRA.glob("*.tf")) for block in blocks(path.read_text(encoding="utf-8"))]
    return f"{INTRODUCTION}\n{table(found)}"


def _kind(written: str) -> str:
    """Return a type, without the fields of its objects."""
    outer = re.match(r"(?:\w+\()*object\(", written)
    return outer[0].rstrip("(").replace("(", " of ") if outer else f"`{written}`"


def _on_one_line(value: str) -> str:
    return re.sub(r"\[ | ?,? \]", lambda edge: edge[0].strip(" ,"), " ".join(value.split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    README.write_text(readme(), encoding="utf-8")
