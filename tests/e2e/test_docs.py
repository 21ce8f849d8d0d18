# SPDX-License-Identifier: Apache-2.0
"""What the pages show must be what the program takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.pki import Pki
from harness.process import ROOT
from harness.skystitch import run

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*/README.md"))]
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")

SECTIONS = re.findall(r"^(\w+):", (ROOT / "conf" / "skystitch-full.yaml").read_text(), re.M)


def is_ours(text: str) -> bool:
    """Pages show files of Kubernetes and of OAP too."""
    return bool(set(re.findall(r"^(\w+):", text, re.M)) & set(SECTIONS))


BLOCKS = [
    pytest.param(found[1], id=f"{page.name}:{page.read_text()[: found.start()].count(chr(10)) + 1}")
    for page in PAGES
    for found in BLOCK.finditer(page.read_text())
    if is_ours(found[1])
]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    made = Pki(tmp_path_factory.mktemp("tls"))
    made.sign("shop", "DNS:shop.example.org")
    return made


def with_files(text: str, pki: Pki, root: Path) -> str:
    """The block with files that are there in place of those that it names."""
    text = re.sub(r"/etc/tls/(?:clients|ca)[\w.-]*\.pem", str(pki.authority.certificate), text)
    text = re.sub(r"/etc/tls/[\w.-]+\.key", str(pki.directory / "shop.key"), text)
    text = re.sub(r"/etc/tls/[\w.-]+\.(?:pem|crt)", str(pki.directory / "shop.pem"), text)

    def made(found: re.Match[str]) -> str:
        path = root / found[0].lstrip("/")
        if path.suffix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("page")
        else:
            path.mkdir(parents=True, exist_ok=True)
        return str(path)

    return re.sub(r"/srv/[\w./-]+", made, text)


@pytest.mark.parametrize("text", BLOCKS)
def test_a_configuration(text: str, pki: Pki, tmp_path: Path) -> None:
    file = tmp_path / "shown.yaml"
    text = with_files(text, pki, tmp_path)
    if "upstreams:" not in text:
        text += '\nupstreams: {app: {servers: [":8000"]}, reports: {servers: [":8001"]}}\n'
    if "routes:" not in text and len(re.findall(r"servers:", text)) > 1:
        text += "\nroutes: [{path: /, upstream: app}]\n"
    file.write_text(text)
    done = run("--config", str(file), "--check")
    assert done.returncode == 0, f"{done.stderr}\n{text}"


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("[A-Z]*.md")], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    gone = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not gone
