"""The collector's benchmark: its arithmetic, its requests, its load generator and what it counts."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import islice

import pytest
from werkzeug.datastructures import Headers

from functions.push import decode
from infra.local.gcs_server.wire import Body, Request
from shared.messages import parse_event
from shared.testing.clock import START
from tests.benchmarks.collector.envelope import Envelopes
from tests.benchmarks.collector.figures import Cell, Figures, median_of, percentile, ratio_of, targets_of
from tests.benchmarks.collector.load import Generator, Load, reported, requests_of
from tests.benchmarks.collector.report import as_document, table_of, targets_table
from tests.benchmarks.collector.slow_store import kind_of

NOTHING, OURS, USUAL = (Cell(variant, 40, 256) for variant in ("a_nothing", "b_collector", "c_per_event"))


def figures(events_per_s: float, *, writes: float = 0.0, p99_ms: float = 100.0, memory_mib: float = 50.0) -> Figures:
    return Figures(events_per_s, 10.0, p99_ms, writes, 0.0, 0.0, 0.3, memory_mib, 0.1, 0.0, 0.0, 0.0)


def test_a_figure_is_the_median_of_its_rounds_and_of_memory_the_most() -> None:
    found = median_of([figures(100, memory_mib=50), figures(300, memory_mib=70), figures(200, memory_mib=60)])
    assert (found.events_per_s, found.memory_mib, found.p50_ms) == (200, 70, 10.0)


def test_a_ratio_is_the_median_of_what_was_measured_side_by_side() -> None:
    rounds = {OURS: [figures(100), figures(300), figures(80)], NOTHING: [figures(100), figures(600), figures(100)]}
    assert ratio_of(rounds, OURS, NOTHING) == pytest.approx(0.8)
    assert ratio_of(rounds, OURS, USUAL) is None


def test_percentiles_are_those_of_the_sorted_values() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [51.0, 100.0, 100.0]
    assert percentile([], 0.5) == 0.0


def test_targets_say_what_is_met_and_what_is_not() -> None:
    rounds = {NOTHING: [figures(1000)], OURS: [figures(740, writes=21)], USUAL: [figures(10)]}
    found = {target.name: (target.found, target.met) for target in targets_of(rounds, 256)}
    assert found == {
        "of_nothing_40ms": (pytest.approx(0.74), False),
        "times_per_event_40ms": (pytest.approx(74.0), True),
        "writes_per_1000_40ms": (21, False),
        "memory_40ms": (50.0, True),
        "p99_40ms": (100.0, True),
    }
    assert "| of_nothing_40ms | >= 0.75 x | 0.74 x | missed |" in targets_table(targets_of(rounds, 256))


def test_what_was_not_measured_has_no_target() -> None:
    assert targets_of({NOTHING: [figures(1000)]}, 256) == []


def test_the_table_tells_threads_and_the_share_of_the_ceiling() -> None:
    lines = table_of({NOTHING: [figures(1000)], OURS: [figures(750)]}, 64)
    assert lines[2].startswith("| a_nothing | 64 | 40 | 256 | 1,000 | 100% |")
    assert lines[3].startswith("| b_collector | 64 (no say) | 40 | 256 | 750 | 75% |")


def test_the_document_keeps_every_round() -> None:
    (cell,) = as_document({OURS: [figures(1), figures(3)]}, {"alone": {}}, {"rounds": 2}, [])["cells"]
    assert (cell["variant"], cell["median"]["events_per_s"], [each["events_per_s"] for each in cell["rounds"]]) == (
        "b_collector",
        2,
        [1, 3],
    )
    assert {"writes_per_1000", "reads_per_1000", "lists_per_1000"} <= set(cell["median"])


def test_requests_have_one_length_and_ids_of_their_own_and_carry_events() -> None:
    bodies = list(islice(Envelopes(reported(3, START), at=START).bodies(7), 5))
    messages = [decode(Headers(), body, now=START) for body in bodies]
    assert len({len(body) for body in bodies}) == 1
    assert [int(message.message_id) for message in messages] == [7, 8, 9, 10, 11]
    assert [type(parse_event(message)).__name__ for message in messages] == ["SttError"] * 5


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "upload/storage/v1/b/bench/o", "writes"),
        ("GET", "storage/v1/b/bench/o/cycles%2Fhead.json", "reads"),
        ("GET", "download/storage/v1/b/bench/o/x", "reads"),
        ("GET", "storage/v1/b/bench/o", "lists"),
        ("GET", "storage/v1/b/bench", "other"),
        ("DELETE", "storage/v1/b/bench/o/x", "other"),
    ],
)
def test_calls_of_the_store_are_told_apart(method: str, path: str, kind: str) -> None:
    assert kind_of(Request(method, tuple(path.split("/")), {}, {}, Body(BytesIO(), 0))) == kind


class _Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        refused = decode(Headers(), body, now=START).message_id.endswith("5")
        self.send_response(500 if refused else 204)
        if refused:
            self.send_header("Content-Length", "4")
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"oops" if refused else b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in http.server
        pass


@contextmanager
def answering() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_the_generator_counts_answers_refusals_and_closed_connections() -> None:
    with answering() as port:
        load = Load(port, concurrent=4, warm_s=0.0, window_s=0.2, drain_s=10.0, first_id=10)
        found = Generator(load, requests_of(load)).run()
    sent = found.answered + found.refused
    assert found.refused == len([number for number in range(10, 10 + sent) if number % 10 == 5]) > 0
    # Each connection may have sent one request right before the window, and one right after it.
    assert 0 < found.answered - 2 * load.concurrent <= len(found.latencies_s) <= found.answered
    assert 0 < found.events <= found.answered
    assert found.unanswered == 0
    assert found.latencies_s == sorted(found.latencies_s)
