"""Reads a page of the console as a browser would and says what is wrong with it, and what any page holds: for tests without a browser."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
ADDRESSES = ("href", "src", "action")


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parts: list["Element | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join("".join(part if isinstance(part, str) else f" {part.text} " for part in self.parts).split())

    def all(self, tag: str | None = None, **attributes: str) -> list["Element"]:
        found = []
        for part in self.parts:
            if isinstance(part, Element):
                if (tag is None or part.tag == tag) and all(part.attributes.get(name) == value for name, value in attributes.items()):
                    found.append(part)
                found += part.all(tag, **attributes)
        return found

    def one(self, tag: str | None = None, **attributes: str) -> "Element":
        found = self.all(tag, **attributes)
        assert len(found) == 1, f"expected one {tag} {attributes}, found {len(found)}"
        return found[0]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]
        self.problems: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.problems.append(f"<{tag}> says an attribute twice: {names}")
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].parts.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].parts.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if self.open[-1].tag != tag:
            self.problems.append(f"</{tag}> closes <{self.open[-1].tag}> at {self.getpos()}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].parts.append(data)


def read(page: str) -> Element:
    """Return a page; one that is not well formed, holds what its own policy forbids, or cannot be heard fails the test."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.problems == []
    assert [element.tag for element in reader.open] == [""], "everything is closed"
    root = reader.root
    everything = root.all()
    ids = [element.attributes["id"] for element in everything if "id" in element.attributes]
    assert len(ids) == len(set(ids)), f"ids are unique: {sorted(ids)}"
    for element in everything:
        names = element.attributes.keys()
        assert not [name for name in names if name.startswith("on") or name == "style"], f"no inline code or style: {element.tag} {names}"
        for name in ("aria-labelledby", "for"):
            assert set(element.attributes.get(name, "").split()) <= set(ids), f"{name} names what is there: {element.attributes}"
        for name in ADDRESSES:
            address = element.attributes.get(name, "")
            assert "//" not in address, f"nothing from elsewhere: {address}"
            assert not address.startswith(("javascript:", "data:")), f"nothing from elsewhere: {address}"
    assert [element.text for element in root.all("script")] == [""], "the one script is a file of its own"
    assert root.all("style") == []
    assert len(root.all("h1")) == 1
    assert root.one("html").attributes["lang"] == "en"
    assert all(section.attributes.get("aria-labelledby") for section in root.all("section"))
    assert all(svg.one("title").text for svg in root.all("svg"))
    return root


class Page(HTMLParser):
    """The tags, attributes, links and text of any page, such as a report."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(name for name, _ in attrs)
        self.links.extend(value or "" for name, value in attrs if name == "href")

    def handle_data(self, data: str) -> None:
        self.text += data
