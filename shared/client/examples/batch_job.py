"""A batch job over a folder: each recording gets a `.txt` beside it, and Retune hears of what went wrong.

    GOOGLE_CLOUD_PROJECT=my-project REGISTRY_BUCKET=my-registry CALLS_BUCKET=my-calls python batch_job.py FOLDER

A `.reference.txt` beside a recording is what a person says was said; a sub-folder is a session.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from retune_client import ErrorReporter, ModelRouter, Utterance
from speech import Recogniser, Recordings

LOW_CONFIDENCE = float(os.environ.get("LOW_CONFIDENCE", "0.6"))


def work(folder: Path, reporter: ErrorReporter, router: ModelRouter[Recogniser], recordings: Recordings) -> int:
    """Transcribe every recording that is one; return how many were reported as errors."""
    errors = 0
    for path in sorted(folder.rglob("*.wav")):
        name, recording = path.relative_to(folder).as_posix(), path.read_bytes()
        session = path.parent.relative_to(folder).as_posix()
        served = router.choose(session)
        try:
            heard = served.model.transcribe(recording)
        except ValueError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        path.with_suffix(".txt").write_text(heard.text + "\n")
        utterance = Utterance(
            utterance_id=name,
            audio_uri=recordings.keep(name, recording),
            hypothesis=heard.text,
            model_version=served.version,
            confidence=heard.confidence,
            duration_s=heard.duration_s,
            session_id=session,
        )
        reporter.observe(utterance)
        truth = path.with_suffix(".reference.txt")
        reference = truth.read_text().strip() if truth.exists() else None
        if reference is not None and reference != heard.text:
            reporter.report_error(utterance, error_type="corrected", reference=reference)
            errors += 1
        elif reference is None and heard.confidence < LOW_CONFIDENCE:
            reporter.report_error(utterance, error_type="low_confidence")
            errors += 1
    return errors


def main(arguments: Sequence[str]) -> int:
    """Do the job; 0 when Retune has heard of everything."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python batch_job.py FOLDER", file=sys.stderr)
        return 2
    registry, project = os.environ["REGISTRY_BUCKET"], os.environ["GOOGLE_CLOUD_PROJECT"]
    with (
        TemporaryDirectory() as cache,
        ErrorReporter(project, sample_rate=0.2) as reporter,
        ModelRouter(registry, cache, lambda folder, _: Recogniser(folder)) as router,
    ):
        router.refresh()
        errors = work(Path(arguments[0]), reporter, router, Recordings(os.environ["CALLS_BUCKET"]))
        told = reporter.flush(60.0)
        print(f"{reporter.stats().observed} recordings, {errors} reported as errors")
    return 0 if told else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
