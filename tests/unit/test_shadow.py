"""What the samples of a version in shadow are counted to."""

from infra.shadow import count_shadow, render
from shared.testing import builders


def test_agreement_and_wer_are_counted_where_they_can_be() -> None:
    events = [
        builders.sample(1, hypothesis="call back", shadow_hypothesis="Call back.", shadow_version=2),
        builders.sample(2, hypothesis="call back", shadow_hypothesis="fall back", shadow_version=2),
        builders.sample(3, hypothesis="call back", shadow_hypothesis="fall sack", shadow_version=2),
        builders.sample(4, hypothesis="call back", shadow_hypothesis="of another version", shadow_version=1),
        builders.sample(5, hypothesis="call back"),
        builders.correction(2, reference="fall back"),
        builders.error(3, reference="fall back"),
        builders.correction(1, reference="call bark", reference_provenance="llm"),
    ]
    report = count_shadow(events, 2)
    # utterances 2 and 3 have a person's reference of two words each: served one error in each, shadow none and one
    assert (report.samples, report.agreeing, report.referenced) == (3, 1, 2)
    assert (report.served_wer, report.shadow_wer) == (0.5, 0.25)
    assert render(report) == (
        "v2: 1 of 3 samples with the same words as what was served; on 2 that a person corrected WER 25.00%, what was served 50.00% "
        "(a hint: people correct what was heard wrongly)"
    )


def test_a_shadow_that_nobody_heard_says_what_is_missing() -> None:
    assert (
        render(count_shadow([builders.sample(1)], 2))
        == "v2: no sample carries a transcript of it yet (see `choose_shadow` of retune-client)"
    )
    unknown = count_shadow([builders.sample(1, shadow_hypothesis="call back", shadow_version=2)], 2)
    assert (unknown.served_wer, unknown.shadow_wer) == (None, None)
    assert render(unknown).endswith("no person has said yet what was said in any of them")
