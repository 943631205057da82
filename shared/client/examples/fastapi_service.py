"""A transcription service on FastAPI and transformers that is part of the loop.

    pip install retune-client fastapi uvicorn transformers torch soundfile
    GOOGLE_CLOUD_PROJECT=my-project REGISTRY_BUCKET=my-registry CALLS_BUCKET=my-calls uvicorn fastapi_service:app

What Retune asks of a service are the ten lines that end with `# retune`; the rest is what it does anyway: it transcribes, keeps the
recording, and remembers its transcripts for a while.
"""

import os
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Body, FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from retune_client import ErrorReporter, ModelRouter, Utterance  # retune
from speech import Recogniser, Recordings

LOW_CONFIDENCE = float(os.environ.get("LOW_CONFIDENCE", "0.6"))
REMEMBERED = 10_000
"""Utterances that may still be corrected."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open what lasts as long as the process, in the worker itself: threads do not survive a fork."""
    cache = os.environ.get("CACHE_DIR", "/var/cache/stt")
    app.state.recordings = Recordings(os.environ["CALLS_BUCKET"])
    app.state.served = OrderedDict()
    with (  # retune
        ErrorReporter(os.environ["GOOGLE_CLOUD_PROJECT"], spool_dir=f"{cache}/spool") as app.state.reporter,  # retune
        ModelRouter(os.environ["REGISTRY_BUCKET"], f"{cache}/models", lambda folder, _: Recogniser(folder)) as app.state.router,  # retune
    ):
        await run_in_threadpool(app.state.router.refresh)  # retune
        yield


app = FastAPI(title="Speech to text", lifespan=lifespan)


@app.post("/transcriptions")
async def transcribe(request: Request, session_id: str) -> dict[str, str | int | float]:
    """Transcribe the audio file in the body."""
    return await run_in_threadpool(_transcribe, request.app, await request.body(), session_id)


def _transcribe(app: FastAPI, recording: bytes, session_id: str) -> dict[str, str | int | float]:
    name = uuid.uuid4().hex
    served = app.state.router.choose(session_id)  # retune
    try:
        heard = served.model.transcribe(recording)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    uri = app.state.recordings.keep(f"{name}.wav", recording)
    told = Utterance(utterance_id=name, audio_uri=uri, hypothesis=heard.text, model_version=served.version, session_id=session_id)  # retune
    app.state.reporter.observe(told)  # retune
    if heard.confidence < LOW_CONFIDENCE:
        app.state.reporter.report_error(told, error_type="low_confidence")  # retune
    app.state.served[name] = told
    if len(app.state.served) > REMEMBERED:
        app.state.served.popitem(last=False)
    return {"id": name, "text": heard.text, "confidence": heard.confidence, "model_version": served.version}


@app.put("/transcriptions/{name}", status_code=204)
def correct(request: Request, name: str, text: Annotated[str, Body(embed=True)]) -> None:
    """Take what a user says was really said."""
    told = request.app.state.served.get(name)
    if told is None:
        raise HTTPException(404, f"transcription {name}: expected one of the last {REMEMBERED}, found none")
    request.app.state.reporter.report_error(told, error_type="corrected", reference=text)  # retune
