"""What a release says of itself: one version, lower bounds, links that lead somewhere."""

import re
import tomllib
from pathlib import Path
from urllib.parse import urlparse

import growlattice
from growlattice._version import DOCUMENTATION

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.rst"), *(ROOT / "docs").rglob("*.inc")]
TEXTS = [*PAGES, *(ROOT / name for name in ("pyproject.toml", "CITATION.cff")), *(ROOT / "examples").rglob("*.py")]
PACKAGE = [*Path(growlattice.__file__).parent.rglob("*.py")]
# Places that were seen to exist. This project's own are not among them before they are registered.
HOSTS = {
    "arxiv.org",
    "cs231n.stanford.edu",
    "doi.org",
    "download.pytorch.org",
    "github.com/VainF",
    "github.com/pytorch",
    "keepachangelog.com",
    "raw.githubusercontent.com/jcpeterson",
    "semver.org",
    "skorch.readthedocs.io",
}


GENERATED = {"_build", "backreferences", "gallery", "generated", "sg_execution_times.rst"}


def place(url):
    """The host of a link, with the owner where a host has many."""
    parts = urlparse(url)
    return f"{parts.netloc}/{parts.path.split('/')[1]}" if "github" in parts.netloc else parts.netloc


def test_links_lead_to_places_that_exist():
    links = [
        (path.name, url)
        for path in (*TEXTS, *PACKAGE)
        if not GENERATED & set(path.parts)
        for url in re.findall(r"https?://[\w.-]+\.\w+(?:/[^\s)\"'`>\]]*)?", path.read_text())
    ]
    assert len(links) > 5
    own = place(DOCUMENTATION) if DOCUMENTATION else None
    assert [(name, url) for name, url in links if place(url) not in HOSTS | {own}] == []


def test_files_that_pages_name_are_there():
    missing = [
        (path.name, target)
        for path in ROOT.glob("*.md")
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text())
        if not (ROOT / target).exists()
    ]
    assert missing == []


def test_the_text_for_an_index_has_absolute_links_alone():
    text = (ROOT / PROJECT["readme"]).read_text()
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert targets and all(target.startswith("https://") for target in targets)


def test_there_is_one_version_and_one_date():
    citation = dict(re.findall(r"^(version|date-released): (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE))
    released = re.findall(r"^## \[(\d.+)\] - (.+)$", (ROOT / "CHANGES.md").read_text(), re.MULTILINE)
    if ".dev" not in growlattice.__version__:
        assert (citation["version"], citation["date-released"]) == released[0]
        assert citation["version"] == growlattice.__version__


def test_the_index_links_to_the_documentation_if_it_is_published():
    assert PROJECT["urls"].get("Documentation") == DOCUMENTATION


def test_every_dependency_has_a_lower_bound():
    extras = PROJECT["optional-dependencies"]
    for requirement in sum((extras[name] for name in ("augment", "dask", "plot")), PROJECT["dependencies"]):
        assert re.fullmatch(r"[\w-]+>=[\d.]+", requirement), requirement


def test_extras_that_pages_name_exist():
    named = {
        extra
        for path in PAGES
        for extras in re.findall(r"install [^\n]*\.\[([\w,]+)\]", path.read_text())
        for extra in extras.split(",")
    }
    assert named and named <= PROJECT["optional-dependencies"].keys()
