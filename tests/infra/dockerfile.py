"""Reads a Dockerfile as far as tests ask: its stages, and each stage's instructions."""

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "trainer" / "Dockerfile"


@dataclass(frozen=True)
class Instruction:
    name: str
    text: str


@dataclass
class Stage:
    """One `FROM` and what follows; the part before the first one has no image."""

    image: str
    name: str = ""
    instructions: list[Instruction] = field(default_factory=list)

    def of(self, name: str) -> list[str]:
        return [each.text for each in self.instructions if each.name == name]

    def environment(self) -> dict[str, str]:
        """Return what its ENV lines set; `$PATH` stays as it is written."""
        return dict(pair for text in self.of("ENV") for pair in re.findall(r"(\w+)=(\S+)", text))


def read_stages(text: str) -> list[Stage]:
    """Return the stages; lines that end in a backslash go on, comments and empty lines are left out."""
    lines = "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    stages = [Stage("")]
    for line in re.sub(r"\\\n\s*", "", lines).splitlines():
        name, rest = line.split(None, 1)
        if name == "FROM":
            image, _, alias = rest.partition(" AS ")
            stages.append(Stage(image, alias))
        else:
            stages[-1].instructions.append(Instruction(name, rest))
    return stages
