"""Links between the documents lead somewhere, headings included."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS += sorted((ROOT / "benchmarks").glob("*.md"))


def prose(path: Path) -> str:
    """A document without its code."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def links(path: Path) -> list[str]:
    """Targets within the repository."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(path: Path) -> set[str]:
    """Names of the headings, as GitHub makes them."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#{1,6} +(.*)$", prose(path), flags=re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found[name if name not in found else f"{name}-{found[name]}"] = 1
    return set(found)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path):
    for link in links(path):
        place, _, heading = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        assert target.exists(), link
        assert not heading or heading in anchors(target), link


def test_every_document_and_picture_is_linked_from_the_readme_or_another():
    linked = {
        (path.parent / place).resolve()
        for path in DOCUMENTS
        for link in links(path)
        if (place := link.partition("#")[0])
    }
    kept = {path for path in (ROOT / "docs").iterdir() if path.suffix in (".md", ".png")}
    assert kept - linked == set()


def test_links_that_lead_nowhere_are_seen(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# One `thing`: two\n[a](other.md) [b](#one-thing-two) [c](https://x.org)\n")
    assert links(page) == ["other.md", "#one-thing-two"]
    assert anchors(page) == {"one-thing-two"}
