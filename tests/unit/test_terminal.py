"""What strangers say is text on a terminal: no command prints a character that a terminal would obey, and none takes it for markup."""

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text
from typer.testing import Result

from functions.push import body_of, quarantine
from functions.wiring import READS, dead_letter_topic, subscription_name
from shared import keys
from shared.bus import Outgoing
from shared.corpora import CorpusClip
from shared.documents import lines_bytes
from shared.gold import GoldRecord
from shared.policy import CanaryPolicy
from shared.terminal import TextConsole, say
from shared.testing import builders
from shared.training import UnlabelledClip
from shared.visible import visible
from tests.command_line import Retune, command_line
from tests.world import POLICY, World

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""C0 but line break and tab, DEL, C1, and what turns the order of reading."""
EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eabc\u2066\x7f\r[red]x[/red][/no]:smile:"
NAME = "\x9b2J\u202e\u2066\x7f[red]x[/red]"
"""What an id may still have: of C0 it has nothing."""
SHOWN = "\u241b[2J\u241b]0;owned"
"""How its beginning is seen."""


def test_nothing_is_left_that_a_terminal_obeys() -> None:
    everything = "".join(map(chr, range(0x3000)))
    seen = visible(everything)
    assert OBEYED.search(seen) is None
    assert len(seen) == len(everything)
    assert [one for one, other in zip(everything, seen, strict=True) if one == other] == [
        one for one in everything if not OBEYED.match(one)
    ]
    assert visible("a\tb\nc") == "a\tb\nc"
    assert visible("\x1b\x9b\u202e\ud800") == "\u241b\ufffd\ufffd\ufffd"


@given(st.text())
def test_what_a_console_prints_is_harmless_wherever_it_stands(text: str) -> None:
    console = TextConsole(width=40, force_terminal=False)
    table = Table(text, title=text)
    table.add_row(text)
    table.add_row(Text(text, style="bold"))
    with console.capture() as captured:
        console.print(table)
        console.print(text)
    assert OBEYED.search(captured.get()) is None


def test_styles_of_our_own_still_reach_a_terminal() -> None:
    console = TextConsole(width=100, force_terminal=True, color_system="standard", no_color=False)
    with console.capture() as captured:
        console.print(Text(f"a{EVIL}", style="bold"))
    assert captured.get().startswith("\x1b[1ma\u241b[2J\u241b]0;owned")
    assert captured.get().count("\x1b") == 2
    assert "[red]x[/red][/no]:smile:" in captured.get().replace("\n", "")


def test_a_line_is_harmless_too(capsys: pytest.CaptureFixture[str]) -> None:
    say(ValueError(EVIL), err=True)
    say(EVIL)
    for text in capsys.readouterr():
        assert OBEYED.search(text) is None
        assert text.startswith(SHOWN)


@pytest.fixture(scope="module")
def world() -> World:
    """Return a world in which everybody who can say anything says it with control sequences."""
    made = World(POLICY.model_copy(update={"min_error_cases": 12, "auto_deploy": False, "canary": CanaryPolicy()}))
    made.install_model()
    made.record_calls(range(200))
    evil = json.dumps(EVIL)
    made.publish(*(builders.sample(n + 100, sample_rate=1.0, hypothesis=EVIL) for n in range(12)))
    made.publish(*(builders.error(n, reference=f"fall {EVIL}", hypothesis=EVIL) for n in range(12)))
    made.publish(builders.error(30, utterance_id=f"u30{NAME}", hypothesis=EVIL))
    made.settle()
    made.train(1, base=lambda _: EVIL, candidate=lambda clip: clip.reference)
    made.settle()
    made.type("model-commands", f'{{"promote": 1, "override": true, "by": {evil}, "reason": {evil}}}')
    made.settle()
    made.type("model-commands", f'{{"pin": 0, "by": {evil}, "reason": {evil}}}')
    made.type("finetune-triggers", f'{{"force": true, "by": {evil}, "reason": {evil}}}')
    made.settle()
    made.publish(*(builders.error(n, hypothesis=EVIL) for n in range(60, 64)))
    made.settle()
    record = GoldRecord(utterance_id=f"u60{NAME}", decision="review", text=EVIL, model="m", samples=(EVIL,), agreement=0.5)
    made.store.put(keys.gold(2), lines_bytes([record]))
    clip = UnlabelledClip(utterance_id=f"u60{NAME}", cluster="c", audio=builders.pin(60), hypothesis=EVIL)
    made.store.put(keys.clips(2, keys.UNLABELLED_SET), lines_bytes([clip]))
    cases = [CorpusClip(utterance_id=f"u{n}{NAME}", audio=builders.pin(n), reference=EVIL, speaker=f"speaker:{NAME}") for n in (70, 71)]
    made.store.put(keys.suite("hard"), lines_bytes(cases))
    made.store.put(keys.REPLAY, lines_bytes(cases))
    for function, topics in READS.items():
        for dead in (dead_letter_topic(subscription_name(function, topic)) for topic in topics):
            made.bus.create_topic(dead)
            made.bus.create_subscription(dead, dead, min_backoff_s=0.0, max_backoff_s=0.0)
    made.bus.publish(Outgoing("collector-stt-errors-dead", EVIL.encode(), {"type": EVIL, "retune_original_id": EVIL}))
    body = json.dumps({"message": {"messageId": EVIL, "data": "", "attributes": {EVIL: EVIL}}}).encode()
    quarantine(made.store, function="collector", reason=EVIL, body=body_of(body), now=made.clock.now())
    made.store.put(f"quarantine/2026-01-05/{EVIL.replace(chr(13), '')}.json", EVIL.encode())
    made.store.put(f"strange/{EVIL.replace(chr(13), '')}", EVIL.encode())
    return made


@pytest.fixture
def retune(world: World, monkeypatch: pytest.MonkeyPatch) -> Retune:
    return command_line(world, monkeypatch)


COMMANDS: dict[str, bool] = {
    "status": False,
    "explain": False,
    "explain 1": True,
    "explain v1": True,
    "explain u3": True,
    "models list": False,
    "models show v1": True,
    "dlq list": True,
    "dlq show EVIL": True,
    "dlq show QUARANTINED": True,
    "dlq show TORN": True,
    "review": True,
    "dataset show 1": False,
    "suite list": False,
    "suite clips hard": True,
    "suite show hard": False,
    "replay list": False,
    "registry fsck": True,
    "shadow": False,
    "rollback v9": False,
    "trigger --no-wait": False,
}
"""Every command that prints what somebody else may have said, and whether it does in this world."""


def arguments(world: World, command: str) -> list[str]:
    refused = [info.key for info in world.store.list("quarantine/")]
    named = {"EVIL": EVIL, "QUARANTINED": refused[-1], "TORN": refused[0]}
    return [named.get(word, word) for word in command.split()]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_what_a_terminal_obeys(world: World, retune: Callable[..., Result], command: str) -> None:
    answered = retune(*arguments(world, command))
    assert not isinstance(answered.exception, Exception) or isinstance(answered.exception, SystemExit)
    assert answered.exit_code in {0, 1}, answered.output
    for text in (answered.stdout, answered.stderr):
        assert OBEYED.search(text) is None, ascii(text)
    if COMMANDS[command]:
        assert "\u241b" in answered.output
        assert "[red]x" in answered.output.replace("\n", "")


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in {"rollback v9", "trigger --no-wait"}])
def test_no_command_prints_json_that_a_terminal_obeys(world: World, retune: Callable[..., Result], command: str) -> None:
    answered = retune(*arguments(world, command), "--json")
    assert OBEYED.search(answered.output) is None
    assert answered.stdout.isascii()
    if COMMANDS[command]:
        assert EVIL[:8] in json.dumps(json.loads(answered.stdout), ensure_ascii=False).encode().decode("unicode_escape")
