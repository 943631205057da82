"""The trainer's image: what its Dockerfile and its build promise, without a docker engine."""

import json
import os
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.dockerfile import DOCKERFILE, ROOT, read_stages
from tests.infra.inventory import GOLDEN

TEXT = DOCKERFILE.read_text(encoding="utf-8")
GLOBAL, BUILD, FINAL = read_stages(TEXT)
CLOUDBUILD = ROOT / "trainer" / "cloudbuild.yaml"
CONFIG: dict[str, Any] = yaml.safe_load(CLOUDBUILD.read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = CONFIG["steps"]

REPOSITORY = "europe-west4-docker.pkg.dev/p/retune-trainer"
BASE_DIGEST, PUSHED_DIGEST = "sha256:" + "a" * 64, "sha256:" + "b" * 64


# Dockerfile


def test_both_stages_start_from_the_base_that_the_build_names() -> None:
    assert (BUILD.image, FINAL.image) == ("${BASE}", "${BASE}")
    (argument,) = GLOBAL.of("ARG")
    assert re.fullmatch(r"BASE=python:3\.\d+-slim", argument), "a tag to build by hand; a digest is written by whoever resolved it"
    assert "sha256:" not in TEXT


def test_it_runs_as_a_user_by_number_who_is_not_root() -> None:
    assert FINAL.of("USER") == ["10001:10001"]
    names = [each.name for each in FINAL.instructions]
    assert "RUN" not in names[names.index("USER") :]
    assert any("--uid 10001" in text for text in FINAL.of("RUN"))


def test_only_what_runs_is_copied() -> None:
    copied = FINAL.of("COPY")
    assert copied == ["--from=build /opt/trainer /opt/trainer", "LICENSE ./", "shared ./shared", "trainer ./trainer"]
    assert BUILD.of("COPY") == ["pyproject.toml constraints.txt ./"]
    assert not [each for stage in (BUILD, FINAL) for each in stage.instructions if each.name == "ADD"]


def test_nothing_is_installed_in_the_last_stage_and_what_installs_is_removed() -> None:
    runs = " ".join(FINAL.of("RUN"))
    assert "pip uninstall --yes" in runs
    assert not re.search(r"apt|pip install|curl|wget", runs)
    assert "--without-pip" in " ".join(BUILD.of("RUN"))


def test_versions_are_those_of_the_constraints() -> None:
    (install,) = [text for text in BUILD.of("RUN") if "pip" in text.split()[0]]
    assert "--constraint constraints.txt --requirement requirements.txt" in install


def test_everything_that_is_written_goes_to_the_scratch_volume() -> None:
    assert FINAL.of("VOLUME") == ["/scratch"]
    environment = FINAL.environment()
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "HF_HOME", "CUDA_CACHE_PATH", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"):
        assert environment[name].split("/")[1] == "scratch", name
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert environment["HF_HUB_OFFLINE"] == "1"


def test_the_entry_point_is_the_trainer() -> None:
    assert json.loads(FINAL.of("ENTRYPOINT")[0]) == ["python", "-m", "trainer"]


def test_the_image_holds_a_list_of_what_it_consists_of() -> None:
    assert "python -m trainer.sbom > sbom.cdx.json" in FINAL.of("RUN")


# what is sent to the build


def sent(path: str) -> bool:
    """Tell whether a path is in the build's context, by .dockerignore: the last rule that fits it or a folder above it decides."""
    parts = path.split("/")
    above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    inside = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        pattern = rule.removeprefix("!").removeprefix("**/")
        names = [part.rsplit("/", 1)[-1] for part in above] if "**/" in rule else above
        if any(fnmatch(name, pattern) and ("/" not in name or "/" in pattern or "**/" in rule) for name in names):
            inside = rule.startswith("!")
    return inside


@pytest.mark.parametrize(
    "path",
    [
        "functions/push.py",
        "tests/world.py",
        "infra/envs/prod.tfvars",
        ".retune/store/models/x",
        ".git/config",
        "shared/client/pyproject.toml",
        "trainer/model.safetensors",
        "shared/__pycache__/ids.pyc",
        "trainer/deep/pytorch_model.bin",
    ],
)
def test_what_the_image_does_not_need_is_not_sent(path: str) -> None:
    assert not sent(path)


@pytest.mark.parametrize(
    "path", ["LICENSE", "pyproject.toml", "constraints.txt", "shared/ids.py", "shared/testing/clock.py", "trainer/gold/ask.py"]
)
def test_what_the_dockerfile_copies_is_sent(path: str) -> None:
    assert (ROOT / path).exists()
    assert sent(path)


# cloudbuild.yaml


def test_the_build_has_the_fields_of_a_build_and_no_others() -> None:
    assert CONFIG.keys() == {"steps", "substitutions", "options", "timeout"}
    assert CONFIG["options"]["logging"] == "CLOUD_LOGGING_ONLY", "a build by an account of one's own has no bucket for logs"
    assert re.fullmatch(r"\d+s", CONFIG["timeout"])
    assert isinstance(CONFIG["options"]["diskSizeGb"], str)
    for step in STEPS:
        assert step.keys() == {"id", "name", "entrypoint", "args"}
        assert (step["name"], step["entrypoint"], step["args"][0]) == ("${_DOCKER}", "bash", "-ceu")


def test_nothing_is_pushed_before_it_was_listed_and_tried() -> None:
    assert [step["id"] for step in STEPS] == ["base", "build", "sbom", "smoke", "push"]
    assert "images" not in CONFIG, "Cloud Build pushes these whatever became of the smoke test's image"


def test_no_digest_is_written_that_the_build_has_not_resolved() -> None:
    assert not re.search(r"[0-9a-f]{64}", CLOUDBUILD.read_text(encoding="utf-8"))


def test_the_command_that_terraform_tells_fits_the_build() -> None:
    (command,) = re.findall(r"gcloud builds submit [^\"]*? \.(?=[\",])", GOLDEN.read_text(encoding="utf-8"))
    assert f"--config {CLOUDBUILD.relative_to(ROOT)} " in command
    (given,) = re.findall(r"--substitutions (\w+)=", command)
    assert given in CONFIG["substitutions"]


def expanded(step: dict[str, Any], **given: str) -> str:
    """Return a step's script as Cloud Build hands it to bash; a name that nobody gives a value is refused, as there."""
    values = {**CONFIG["substitutions"], "BUILD_ID": "b-1", **given}

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name = found[1] or found[2]
        assert name in values, f"step {step['id']}: {found[0]} is no substitution; a shell's own dollar is written twice"
        return str(values[name])

    return re.sub(r"\$\$|\$\{(\w+)\}|\$(\w*)", value, step["args"][1])


def test_every_script_is_valid_shell() -> None:
    for step in STEPS:
        done = subprocess.run(["bash", "-n"], input=expanded(step), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), step["id"]


FAKE_DOCKER = r"""#!/bin/bash
printf '%s\n' "$*" >> "$CALLS"
case "$1 $2" in
  "image inspect") case "$*" in *"/trainer:"*) printf '%s\n' "$PUSHED" ;; *) printf '%s\n' "$PULLED" ;; esac ;;
  "run --rm") case "$*" in *sbom*) printf '%s\n' "$SBOM" ;; *) exit "$SMOKE" ;; esac ;;
esac
"""
SBOM = '"bomFormat": "CycloneDX"\n"purl": "pkg:pypi/torch@2.13.0"\n"purl": "pkg:deb/debian/libc6@2"'


class Built:
    """What came of running the steps with a docker that only notes what it is told."""

    def __init__(self, folder: Path, repository: str = REPOSITORY, **behaviour: str) -> None:
        binary = folder / "bin" / "docker"
        binary.parent.mkdir()
        binary.write_text(FAKE_DOCKER)
        binary.chmod(0o755)
        defaults = {
            "PULLED": f"mirror.gcr.io/library/python@{BASE_DIGEST}",
            "PUSHED": f"other.example/trainer@{BASE_DIGEST}\n{REPOSITORY}/trainer@{PUSHED_DIGEST}",
            "SBOM": SBOM,
            "SMOKE": "0",
        }
        calls = folder / "calls"
        calls.touch()
        environ = {"PATH": f"{binary.parent}:{os.environ['PATH']}", "CALLS": str(calls), **defaults, **behaviour}
        workspace = folder / "workspace"
        workspace.mkdir()
        self.failed_in: str | None = None
        self.said = ""
        for step in STEPS:
            command = ["bash", step["args"][0], expanded(step, _REPOSITORY=repository)]
            done = subprocess.run(command, cwd=workspace, env=environ, capture_output=True, text=True, check=False)
            self.said += done.stdout + done.stderr
            if done.returncode:
                self.failed_in = step["id"]
                break
        self.calls = calls.read_text().splitlines()

    def did(self, verb: str) -> bool:
        return any(call.startswith(verb) for call in self.calls)


def test_it_builds_by_the_digest_of_the_base_and_tells_the_digest_of_what_it_pushed(tmp_path: Path) -> None:
    built = Built(tmp_path)
    assert built.failed_in is None, built.said
    (build,) = [call for call in built.calls if call.startswith("build ")]
    assert f"--build-arg BASE=mirror.gcr.io/library/python@{BASE_DIGEST} " in build
    assert "--label org.opencontainers.image.base.name=mirror.gcr.io/library/python:3.11-slim " in build
    assert f"--label org.opencontainers.image.base.digest={BASE_DIGEST} " in build
    assert f"--tag {REPOSITORY}/trainer:b-1 " in build
    (smoke,) = [call for call in built.calls if "trainer.selftest --image" in call]
    assert all(flag in smoke for flag in ("--read-only", "--network none", "--cap-drop ALL", "no-new-privileges"))
    assert built.calls.index(smoke) < built.calls.index(f"push --quiet {REPOSITORY}/trainer:b-1")
    assert built.said.rstrip().endswith(f"-var trainer_image={REPOSITORY}/trainer@{PUSHED_DIGEST}")


@pytest.mark.parametrize(
    ("behaviour", "failed_in", "told"),
    [
        ({"PULLED": ""}, "base", "expected a registry's image with a digest, found ''"),
        ({"PULLED": "python@sha256:short"}, "base", "found 'python@sha256:short'"),
        ({"SBOM": '"bomFormat": "CycloneDX"'}, "sbom", ""),
        ({"SMOKE": "1"}, "smoke", ""),
        ({"PUSHED": f"other.example/trainer@{BASE_DIGEST}"}, "push", f"expected a digest under {REPOSITORY}"),
    ],
)
def test_what_goes_wrong_ends_the_build_there(behaviour: dict[str, str], failed_in: str, told: str, tmp_path: Path) -> None:
    built = Built(tmp_path, **behaviour)
    assert built.failed_in == failed_in
    assert told in built.said
    assert "trainer_image=" not in built.said
    assert built.did("push") == (failed_in == "push")


def test_without_a_repository_nothing_is_pulled(tmp_path: Path) -> None:
    built = Built(tmp_path, repository="")
    assert (built.failed_in, built.calls) == ("base", [])
    assert "_REPOSITORY: expected REGION-docker.pkg.dev/PROJECT/retune-trainer" in built.said
