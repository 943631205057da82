"""MLflow's client, with its exceptions in our words; and a model out of an MLflow registry [io]."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from infra.errors import Refused, Unreachable

if TYPE_CHECKING:
    from mlflow import MlflowClient

SCHEME = "models:/"
"""How MLflow writes where a model is: `models:/name/3`, `models:/name@stable`."""
RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
"""Its client would try a server that is away for minutes before it says so."""


def fetch(source: str, folder: Path) -> Path:
    """Download a model such as `models:/name@stable` from the registry in MLFLOW_TRACKING_URI; return its folder.

    Raises:
        Unreachable: MLflow's client is not installed, no registry is named, or it does not answer.
        Refused: it has no such model.
    """
    tracking_uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not tracking_uri:
        raise Unreachable(f"{source}: expected the registry's address in MLFLOW_TRACKING_URI, found none; export it")
    with mlflow_client(tracking_uri):
        from mlflow.artifacts import download_artifacts

        return Path(download_artifacts(artifact_uri=source, dst_path=str(folder), tracking_uri=tracking_uri))


@contextmanager
def mlflow_client(tracking_uri: str) -> "Iterator[MlflowClient]":
    """Yield a client, and say in our words what MLflow's exceptions mean."""
    for variable, value in RETRIES.items():
        os.environ.setdefault(variable, value)
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError as error:
        raise Unreachable(f"an MLflow registry needs its client: run `pip install 'retune[mlflow]'` ({error})") from error
    try:
        yield mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    except MlflowException as error:
        text = " ".join(str(error).split())
        away = error.error_code in {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"} and "API request to" in text
        raise (Unreachable if away else Refused)(f"MLflow at {tracking_uri}: {text[:300]}") from error
