"""What an image tells of its contents, and what it is checked for from inside."""

import json
from importlib.metadata import PathDistribution
from pathlib import Path

from trainer.sbom import debian_components, document, python_components, vendor_of
from trainer.selftest import image_problems

STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.41-12
Description: GNU C Library
 Package: no package, but a line of a description

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: tzdata
Status: install ok installed
Architecture: all
Version: 1:2026a+b~1
"""


def test_debian_packages_are_those_that_are_installed() -> None:
    assert [each["purl"] for each in debian_components(STATUS, "debian")] == [
        "pkg:deb/debian/libc6@2.41-12?arch=amd64",
        "pkg:deb/debian/tzdata@1%3A2026a%2Bb~1?arch=all",
    ]


def test_python_distributions_have_their_normal_names(tmp_path: Path) -> None:
    folder = tmp_path / "Typing_Extensions-4.1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: Typing_Extensions\nVersion: 4.1+cpu\n")
    (found,) = python_components([PathDistribution(folder)])
    assert (found["name"], found["version"], found["purl"]) == ("typing-extensions", "4.1+cpu", "pkg:pypi/typing-extensions@4.1%2Bcpu")


def test_the_document_is_cyclonedx_sorted_and_the_same_for_the_same_contents() -> None:
    components = list(debian_components(STATUS, "debian"))
    text = document([*reversed(components), *components])
    assert text == document(components)
    found = json.loads(text)
    assert (found["bomFormat"], found["specVersion"], found["version"]) == ("CycloneDX", "1.6", 1)
    assert [each["name"] for each in found["components"]] == ["libc6", "tzdata"]


def test_the_vendor_is_that_of_the_base() -> None:
    assert vendor_of('PRETTY_NAME="Ubuntu 26.04"\nID=ubuntu\nID_LIKE=debian\n') == "ubuntu"
    assert vendor_of("") == "debian"


# from inside

CODE, SCRATCH = Path("/app/trainer"), Path("/scratch")


def problems(*, uid: int = 10001, writable: tuple[Path, ...] = (SCRATCH,), modules: tuple[str, ...] = ("torch",)) -> list[str]:
    return list(image_problems(uid, CODE, SCRATCH, lambda folder: folder in writable, lambda name: name in modules))


def test_an_image_as_it_should_be_has_no_problem() -> None:
    assert problems() == []


def test_each_problem_of_an_image_is_told() -> None:
    assert "found uid 0" in problems(uid=0)[0]
    assert "/app/trainer: expected a folder that cannot be written" in problems(writable=(SCRATCH, CODE))[0]
    assert "/scratch: expected a folder that can be written" in problems(writable=())[0]
    assert problems(modules=("pip",)) == ["pip: expected no installer in the image, found the module"]
