# SPDX-License-Identifier: Apache-2.0
"""Django's own admin: a login, a list, an object that is added, changed and deleted, with and without the helper."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
import requests

from expect import DJANGO, check_times
from harness import Segment, Site, Stage

SQLITE = 31
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')
#: What differs from run to run.
VARIES = re.compile(r'value="\w{64}"|nonce="[^"]*"|\d\d?:\d\d( [ap]\.?m\.?)?|127\.0\.0\.1:\d+')


@dataclass(frozen=True)
class Step:
    method: str
    path: str
    operation: str
    view: str
    status: int
    form: dict[str, str] | None = None


SITES = "django.contrib.admin.sites.AdminSite"
OPTIONS = "django.contrib.admin.options.ModelAdmin"
GROUP = "/admin/auth/group"
CHANGE = f"{GROUP}/<path:object_id>"
LOGIN = {"username": "chief", "password": "secret", "next": "/admin/"}
STEPS = [
    Step("GET", "/admin/", "/admin/", f"{SITES}.index", 302),
    Step("GET", "/admin/login/", "/admin/login/", f"{SITES}.login", 200),
    Step("POST", "/admin/login/", "/admin/login/", f"{SITES}.login", 200, {**LOGIN, "password": "wrong"}),
    Step("POST", "/admin/login/", "/admin/login/", f"{SITES}.login", 302, LOGIN),
    Step("GET", "/admin/", "/admin/", f"{SITES}.index", 200),
    Step("GET", f"{GROUP}/", f"{GROUP}/", f"{OPTIONS}.changelist_view", 200),
    Step("GET", f"{GROUP}/add/", f"{GROUP}/add/", f"{OPTIONS}.add_view", 200),
    Step("POST", f"{GROUP}/add/", f"{GROUP}/add/", f"{OPTIONS}.add_view", 302, {"name": "tea"}),
    Step("GET", f"{GROUP}/?q=tea", f"{GROUP}/", f"{OPTIONS}.changelist_view", 200),
    Step("POST", f"{GROUP}/1/change/", f"{CHANGE}/change/", f"{OPTIONS}.change_view", 302, {"name": "mugs"}),
    Step("GET", f"{GROUP}/1/history/", f"{CHANGE}/history/", f"{OPTIONS}.history_view", 200),
    Step("GET", f"{GROUP}/7/change/", f"{CHANGE}/change/", f"{OPTIONS}.change_view", 302),
    Step("POST", f"{GROUP}/1/delete/", f"{CHANGE}/delete/", f"{OPTIONS}.delete_view", 302, {"post": "yes"}),
    Step("GET", "/admin/nope/", "/admin/<url>", f"{SITES}.catch_all_view", 404),
    Step("POST", "/admin/logout/", "/admin/logout/", f"{SITES}.logout", 200, {}),
]


class Browser:
    """Keeps cookies, and the token of the last form."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def take(self, step: Step) -> requests.Response:
        form = step.form
        if form is not None:
            form = {**form, "csrfmiddlewaretoken": self.session.cookies.get("csrftoken", "")}
        url = f"{self.url}{step.path}"
        return self.session.request(step.method, url, data=form, allow_redirects=False, timeout=30)


def seen(response: requests.Response) -> tuple[int, str, list[str], str]:
    """All of an answer that does not differ from run to run."""
    names = sorted(name for name in response.headers if name not in ("Date", "Server"))
    return response.status_code, response.headers.get("Location", ""), names, VARIES.sub("*", response.text)


def check_step(segment: Segment, step: Step) -> None:
    entry, app = segment.entry, segment.span(1)
    assert (entry.type, entry.layer, entry.component, entry.error) == ("Entry", "Http", DJANGO, False)
    assert entry.operation == f"{step.method}:{step.operation}"
    assert entry.tag("http.status_code") == str(step.status)
    assert (app.parent, app.type, app.operation, app.error, app.logs) == (0, "Local", step.view, False, ())
    for call in segment.spans[2:]:
        assert (call.parent, call.type, call.layer, call.component) == (1, "Exit", "Database", SQLITE)
        assert call.operation.startswith("SQLite/")
        assert not call.error
        assert "secret" not in str(call.tags)
    if step.form is not None and step.status == 302:
        assert any(
            "insert" in str(span.tags).lower() or "delete" in str(span.tags).lower() for span in segment.spans[2:]
        )
    assert not segment.size_limited
    check_times(segment)


@pytest.fixture
def sites(stage: Stage) -> dict[str, Site]:
    def site(name: str, agent: str) -> Site:
        env = {"ADMIN_DATABASE": str(stage.path(f"{name}.sqlite3")), "APP_AGENT": agent}
        return Site(stage, "admin_django:application", name=name, env=env)

    return {"with": site("with", "skystitch"), "without": site("without", "none")}


def test_admin(sites: dict[str, Site]) -> None:
    traced = sites["with"]
    mine, others = Browser(traced.proxy.url), Browser(sites["without"].proxy.url)
    assert traced.proxy.get("/ready").status_code == 200
    traced.collector.one()
    for step in STEPS:
        traced.collector.clear()
        answer = mine.take(step)
        assert answer.status_code == step.status, step
        assert seen(answer) == seen(others.take(step)), step
        check_step(traced.collector.one(), step)
    assert traced.proxy.metric("skystitch_stitch_lost_total") == 0
