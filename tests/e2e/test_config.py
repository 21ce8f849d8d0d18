# SPDX-License-Identifier: Apache-2.0
"""The command line, the file and the environment; what a mistake in them looks like."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness import Collector, Origin, Skystitch, Stage, free_port, until
from harness.process import ROOT
from harness.skystitch import run

FILE = """\
listen:
  - {address: ":8080"}
upstreams:
  app: {servers: ["127.0.0.1:8000"]}
routes:
  - {path: "/", upstream: app}
"""

# name: text of the file, what the one line must say
MISTAKES = {
    "unknown key": (FILE + "agent: {servce: shop}\n", ["skystitch.yaml:7:9", "agent.servce", "agent.service"]),
    "unknown section": (FILE + "repoter: {}\n", ["skystitch.yaml:7:1", "repoter", "reporter"]),
    "bad duration": (FILE + "stitch: {hold: soon}\n", ["skystitch.yaml:7:16", "stitch.hold", "soon", "250ms"]),
    "bad size": (FILE + "reporter: {memory: much}\n", ["skystitch.yaml:7:20", "reporter.memory", "much", "16MiB"]),
    "bad choice": (FILE + "agent: {mode: bridge}\n", ["skystitch.yaml:7:15", "agent.mode", "stitch", "gateway"]),
    "out of range": (FILE + "workers: 0\n", ["skystitch.yaml:7:10", "workers"]),
    "bad address": (FILE.replace(":8080", "8080x"), ["skystitch.yaml:2:15", "8080x"]),
    "no such upstream": (FILE.replace("upstream: app", "upstream: ap"), ["skystitch.yaml:6:27", "ap"]),
    "twice": (FILE + "workers: 1\nworkers: 2\n", ["skystitch.yaml:8:1", "workers"]),
    "not YAML": (FILE + "agent: [}\n", ["skystitch.yaml:7:"]),
    "a list for a section": (FILE + "agent: []\n", ["skystitch.yaml:7:8", "agent"]),
}


@pytest.mark.parametrize("other", ['listen: [":8080", "127.0.0.1:8080"]', 'admin: {listen: ":8080"}'])
def test_two_listeners_in_each_others_way(stage: Stage, other: str) -> None:
    path = stage.path("skystitch.yaml")
    path.write_text('upstreams: {app: {servers: ["127.0.0.1:8000"]}}\n' + other + "\n")
    done = run("--config", str(path))
    assert done.returncode == 2
    assert "is listened on twice" in done.stderr


def test_routes_that_need_no_app(stage: Stage) -> None:
    (stage.directory / "a.txt").write_text("a")
    routes = [{"path": "/", "static": str(stage.directory)}]
    proxy = Skystitch(stage, "127.0.0.1:1", config={"routes": routes}, start=False)
    config = json.loads(proxy.config_path.read_text())
    del config["upstreams"]
    proxy.config_path.write_text(json.dumps(config))
    proxy.start()
    assert proxy.get("/a.txt").text == "a"
    assert proxy.admin("/readyz").status_code == 200


def test_a_field_with_a_variable_of_nginx(stage: Stage) -> None:
    """It would reach the app as it is written here: said, and taken."""
    path = stage.path("skystitch.yaml")
    path.write_text(FILE.replace("app}", "app, request_headers: {set: {X-Real-IP: $remote_addr}}}"))
    done = run("--config", str(path), "--check")
    assert done.returncode == 0
    assert '"$remote_addr" is sent as it is' in done.stderr


def test_a_listener_where_something_else_is(stage: Stage) -> None:
    stage.path("file").write_text("")
    for path, says in (("file", "is no socket: remove it"), ("none/file", "its folder has to be there")):
        done = run("--upstream", ":1", "--set", "admin.listen=off", "--listen", f"unix:{stage.path(path)}")
        assert done.returncode == 1
        assert says in done.stderr


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_in_the_file(stage: Stage, kind: str) -> None:
    text, says = MISTAKES[kind]
    path = stage.path("skystitch.yaml")
    path.write_text(text)
    done = run("--config", str(path))
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in says:
        assert word in done.stderr, done.stderr


COMMAND_LINES = {
    "unknown option": (["--lisen", ":8080"], ["--lisen", "--listen"]),
    "no value": (["--listen"], ["--listen"]),
    "unknown setting": (["--set", "agent.servce=x"], ["agent.servce", "agent.service"]),
    "bad setting": (["--set", "stitch.hold=soon"], ["stitch.hold", "soon"]),
    "setting without =": (["--set", "stitch.hold"], ["--set", "key=value"]),
    "bad listen": (["--listen", "nowhere"], ["--listen", "nowhere"]),
    "no file": (["--config", "/nonexistent/skystitch.yaml"], ["/nonexistent/skystitch.yaml", "No such file"]),
    "no upstream": (["--listen", ":8080"], ["--upstream"]),
    "left over": (["--listen", ":8080", "--upstream", "127.0.0.1:8000", "stray"], ["stray"]),
}


@pytest.mark.parametrize("kind", COMMAND_LINES)
def test_a_mistake_on_the_command_line(kind: str) -> None:
    arguments, says = COMMAND_LINES[kind]
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    for word in says:
        assert word in done.stderr, done.stderr


def test_a_mistake_in_the_environment() -> None:
    line = ["--listen", ":8080", "--upstream", "127.0.0.1:8000", "--check"]
    done = run(*line, env={"SKYSTITCH_STITCH_HOLD": "soon"})
    assert done.returncode == 2
    assert "SKYSTITCH_STITCH_HOLD" in done.stderr
    done = run(*line, env={"SKYSTITCH_STITCH_HOLT": "1s", "SW_AGENT_NAMES": "x"})
    assert done.returncode == 0, "an unknown name is a warning"
    assert "SKYSTITCH_STITCH_HOLT" in done.stderr
    assert "SKYSTITCH_STITCH_HOLD" in done.stderr
    assert "SW_AGENT_NAME" in done.stderr
    done = run(*line, env={"SKYSTITCH_SERVICE_HOST": "10.0.0.1", "SKYSTITCH_PORT": "tcp://10.0.0.1:80"})
    assert (done.returncode, done.stderr) == (0, ""), "Kubernetes puts those there"


def test_every_mistake_is_told_at_once(stage: Stage) -> None:
    path = stage.path("skystitch.yaml")
    path.write_text(FILE + "workers: 0\nstitch: {hold: soon}\n")
    done = run("--config", str(path), "--check")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 2, done.stderr


def test_check(stage: Stage) -> None:
    path = stage.path("skystitch.yaml")
    path.write_text(FILE)
    assert run("--config", str(path), "--check").returncode == 0


def test_missing_folders_are_warnings(stage: Stage) -> None:
    folder = stage.path("missing")
    path = stage.path("skystitch.yaml")
    path.write_text(f"{FILE}  - {{path: /files/, static: {folder}}}\nbuffer: {{directory: {folder}}}\n")
    done = run("--config", str(path), "--check")
    assert done.returncode == 0
    assert f"buffer.directory: {folder}: No such file" in done.stderr
    assert f"routes.static: {folder}: No such file" in done.stderr


def test_version_and_help() -> None:
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("skystitch ")
    done = run("--help")
    assert done.returncode == 0
    assert "--listen" in done.stdout


def test_precedence(stage: Stage) -> None:
    """Command line over environment over file over default."""
    path = stage.path("skystitch.yaml")
    path.write_text(FILE + "agent: {service: from-file, instance: from-file}\nstitch: {hold: 100ms}\n")
    env = {"SW_AGENT_NAME": "from-env", "SW_AGENT_INSTANCE_NAME": "from-env", "SW_AGENT_NAMESPACE": "prod"}
    done = run("--config", str(path), "--service", "from-line", "--print-config", env=env)
    assert done.returncode == 0
    assert "from-line" in done.stdout
    assert "from-env" in done.stdout
    assert "from-file" not in done.stdout
    assert "100ms" in done.stdout
    again = stage.path("again.yaml")
    again.write_text(done.stdout)
    done_again = run("--config", str(again), "--print-config")
    assert done_again.stdout == done.stdout, "what is printed is a configuration file"


def test_secrets_are_masked(stage: Stage) -> None:
    done = run(
        *("--listen", ":8080", "--upstream", "127.0.0.1:8000", "--print-config"),
        env={"SKYSTITCH_TOKEN": "s3cret-1", "SW_AGENT_AUTHENTICATION": "s3cret-2"},
    )
    assert done.returncode == 0
    assert "s3cret" not in done.stdout


def test_flags_alone_are_enough(stage: Stage) -> None:
    """README's first example: no file, the backend by the agent's own variable."""
    collector = Collector(stage)
    origin = Origin(stage)
    proxy = Skystitch(
        stage, origin.address, start=False, env={"SW_AGENT_COLLECTOR_BACKEND_SERVICES": collector.address}
    )
    flags = ["--listen", f"127.0.0.1:{proxy.port}", "--upstream", origin.address, "--service", "shop"]
    proxy.argv = [str(proxy.binary), *flags, "--set", f"admin.listen=127.0.0.1:{proxy.admin_port}"]
    proxy.start()
    assert proxy.get("/users/7").status_code == 200
    assert collector.one().service == "shop"


def test_flags_replace_the_files_lists(stage: Stage) -> None:
    origin = Origin(stage)
    port = free_port()
    proxy = Skystitch(
        stage,
        f"127.0.0.1:{free_port()}",
        arguments=["--listen", f"127.0.0.1:{port}", "--upstream", origin.address],
    )
    proxy.port = port
    assert proxy.get("/").status_code == 200


def test_routes(stage: Stage) -> None:
    """The longest prefix wins; a path without a route is a 404 that says so."""
    shop, api = Origin(stage, name="shop-origin"), Origin(stage, name="api-origin")
    config = {
        "upstreams": {"api": {"servers": [api.address]}},
        "routes": [{"path": "/shop/", "upstream": "app"}, {"path": "/shop/api/", "upstream": "api"}],
    }
    proxy = Skystitch(stage, shop.address, config=config)
    assert proxy.get("/shop/x").status_code == 200
    assert proxy.get("/shop/api/x").status_code == 200
    missing = proxy.get("/other")
    assert missing.status_code == 404
    assert "route" in missing.text
    assert [e.request_line for e in shop.exchanges] == [b"GET /shop/x HTTP/1.1"]
    assert [e.request_line for e in api.exchanges] == [b"GET /shop/api/x HTTP/1.1"]


def test_several_servers_share_the_load(stage: Stage) -> None:
    origins = [Origin(stage, name=f"origin-{number}") for number in range(3)]
    proxy = Skystitch(stage, [origin.address for origin in origins])
    for _ in range(30):
        assert proxy.get("/").status_code == 200
    assert all(len(origin.exchanges) >= 5 for origin in origins)


def test_ignored_by_rule(stage: Stage) -> None:
    collector = Collector(stage)
    rules = {"ignore_path": ["/health/**"], "ignore_method": ["OPTIONS"], "ignore_suffix": [".map"]}
    proxy = Skystitch(stage, Origin(stage).address, collector=collector, config={"agent": rules})
    for method, path in (("GET", "/health/a/b"), ("OPTIONS", "/x"), ("GET", "/a.map"), ("GET", "/a.css")):
        assert proxy.request(method, path).status_code == 200
    assert collector.one().path() == "/a.css", "the list replaces the default one"
    assert proxy.metric("skystitch_requests_untraced_total", reason="ignored") == 3


def test_the_json_of_the_admin_page_is_the_configuration(stage: Stage) -> None:
    proxy = Skystitch(stage, Origin(stage).address, config={"stitch": {"hold": "123ms"}})
    shown = proxy.admin("/api/config").json()
    assert shown["stitch"]["hold"] == "123ms"
    assert json.dumps(shown).count("127.0.0.1") >= 2
    until(lambda: proxy.is_ready(), "still ready")


def test_the_reference_is_this_programs() -> None:
    done = run("--print-reference")
    assert done.returncode == 0
    kept = (ROOT / "docs" / "reference.md").read_text()
    assert done.stdout == kept, "write it anew: skystitch --print-reference > docs/reference.md"


FULL = ROOT / "conf" / "skystitch-full.yaml"


def test_the_full_file_is_this_programs() -> None:
    done = run("--print-example")
    assert done.returncode == 0
    assert done.stdout == FULL.read_text(), "write it anew: skystitch --print-example > conf/skystitch-full.yaml"


def test_the_full_file_changes_nothing() -> None:
    with_file = run("--config", str(FULL), "--print-config")
    without = run("--upstream", "unix:/run/app.sock", "--print-config")
    assert with_file.returncode == without.returncode == 0
    assert with_file.stdout == without.stdout


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("listen: [{address: ':80', ", "}]"),
        ("listen: [{address: ':80', tls: {", "}}]"),
        ("upstreams: {app: {", "}}"),
        ("upstreams: {app: {servers: [':8000']}}\nroutes: [{path: /, ", "}]"),
    ],
)
def test_the_full_file_names_every_member(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "unknown.yaml"
    file.write_text(f"{before}no_such_member: 1{after}\n")
    accepted = run("--config", str(file), "--check").stderr
    names = accepted.split("accepted: ", 1)[1]
    members = re.findall(r"(\w+):" if ":" in names else r"\w+", names)
    assert members
    text = FULL.read_text()
    assert not [name for name in members if f"{name}:" not in text], "add them to proxy/config/example/lists.yaml"


@pytest.mark.parametrize("path", sorted((ROOT / "conf").glob("*.yaml")), ids=lambda path: path.name)
def test_the_files_we_ship_are_sound(path: Path) -> None:
    done = run("--config", str(path), "--check")
    assert (done.returncode, done.stderr) == (0, "")
