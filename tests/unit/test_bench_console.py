"""The console's benchmark: what it makes of its looks."""

from tests.benchmarks.console import Look, Row, _middle, table


def test_the_middle_look_is_the_median_of_each_figure() -> None:
    looks = [Look(0.2, 0.1, 0.05, 70, 1024), Look(0.4, 0.3, 0.01, 72, 1024), Look(9.0, 0.2, 0.02, 70, 2048)]
    assert _middle(looks) == Look(0.4, 0.2, 0.02, 70, 1024)


def test_a_row_is_told_cold_and_warm_and_held_against_the_target_warm() -> None:
    row = Row(10_000, 20.0, cold=Look(1.5, 1.2, 0.4, 130, 30_720), warm=Look(0.5, 0.4, 0.1, 110, 30_720), most_s=0.75)
    assert row.met
    assert table([row]).splitlines()[2:] == [
        "| 10,000 | 20 ms | new instance | 1.50 s | 1.20 s | 400 ms | 130 | 30 KiB |",
        "| 10,000 | 20 ms | later (15; slowest 0.75 s) | 0.50 s | 0.40 s | 100 ms | 110 | 30 KiB |",
    ]
