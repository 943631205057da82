"""What an image consists of, as a CycloneDX document: the Python distributions and Debian packages that are there.

python -m trainer.sbom      prints it; the same contents give the same bytes, so that it can lie in the image itself

Source: CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/), package URLs (https://github.com/package-url/purl-spec).
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from urllib.parse import quote

Component = dict[str, str]

DPKG_STATUS = Path("/var/lib/dpkg/status")
OS_RELEASE = Path("/etc/os-release")


def python_components(found: Iterable[Distribution]) -> Iterator[Component]:
    """Yield the component of each Python distribution."""
    for distribution in found:
        name = re.sub(r"[-_.]+", "-", distribution.name).lower()
        yield _component(name, distribution.version, f"pkg:pypi/{quote(name)}@{quote(distribution.version)}")


def debian_components(status: str, vendor: str) -> Iterator[Component]:
    """Yield the component of each package that a dpkg status file lists as installed; `vendor` is the ID of os-release."""
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
            yield _component(name, version, f"pkg:deb/{vendor}/{quote(name)}@{quote(version)}?arch={architecture}")


def document(components: Iterable[Component]) -> str:
    """Return the CycloneDX document of some components: sorted, each once, without a time or a serial number."""
    distinct = {component["purl"]: component for component in components}
    content = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": [distinct[purl] for purl in sorted(distinct)]}
    return json.dumps(content, indent=1) + "\n"


def vendor_of(os_release: str) -> str:
    """Return the ID that an os-release file tells."""
    told = re.search(r'^ID="?([a-z0-9._-]+)"?$', os_release, re.MULTILINE)
    return told[1] if told else "debian"


def _component(name: str, version: str, purl: str) -> Component:
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def main() -> None:
    """Print the document of what is installed here."""
    python = ".".join(map(str, sys.version_info[:3]))
    components = [_component("python", python, f"pkg:generic/python@{python}"), *python_components(distributions())]
    if DPKG_STATUS.exists():
        vendor = vendor_of(OS_RELEASE.read_text()) if OS_RELEASE.exists() else "debian"
        components += debian_components(DPKG_STATUS.read_text(encoding="utf-8"), vendor)
    sys.stdout.write(document(components))


if __name__ == "__main__":
    main()
