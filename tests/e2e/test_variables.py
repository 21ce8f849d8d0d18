# SPDX-License-Identifier: Apache-2.0
"""docs/sw-variables.md has a decision on every variable of the SkyWalking Python agent, and a true one."""

from __future__ import annotations

import re
from pathlib import Path

import skywalking.config
from skystitch import given

from harness.process import ROOT
from harness.skystitch import run

ROW = re.compile(r"^\| `(SW_[A-Z0-9_]+\*?)` \| ([a-z, ]+) \|(?: (.*))? \|$", re.MULTILINE)
# Added to the agent after the release that is installed here; its own name for a group of variables.
LATER = {"SW_AGENT_SSL_TRUSTED_CA_PATH", "SW_AGENT_SSL_CERT_CHAIN_PATH", "SW_AGENT_SSL_KEY_PATH"}
GROUP = "SW_KAFKA_REPORTER_CONFIG_*"


def decisions() -> dict[str, tuple[set[str], str]]:
    rows = ROW.findall((ROOT / "docs" / "sw-variables.md").read_text())
    assert len(rows) == len({name for name, _, _ in rows}), "a variable stands twice"
    return {name: (set(who.split(", ")), text) for name, who, text in rows}


def of_the_agent() -> set[str]:
    text = Path(skywalking.config.__file__).read_text()
    # Without comments; one name is an example in its docstring.
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return (set(re.findall(r"os\.getenv\(\s*'(SW_[A-Z0-9_]+)'", code)) - {"SW_AGENT_ACTUAL_OPTION"}) | LATER


def of_the_proxy() -> dict[str, str]:
    """Variables that set an option -> the option, from the reference."""
    text = (ROOT / "proxy" / "config" / "options.def").read_text()
    rows = re.findall(r'^SKY_OPTION\("([^"]+)".*?, "(SW_[A-Z0-9_]+)", "', text, re.MULTILINE)
    read = {variable: option for option, variable in rows}
    # One option, whichever framework's variable says it.
    collect = {name for name in of_the_agent() if re.fullmatch(r"SW_PLUGIN_[A-Z]+_COLLECT_HTTP_PARAMS", name)}
    return {**read, **dict.fromkeys(collect, "agent.http_params")}


def known_to_the_proxy() -> set[str]:
    text = (ROOT / "proxy" / "config" / "environment.def").read_text()
    return set(re.findall(r'SKY_VARIABLE\("([A-Z0-9_]+)"\)', text)) | set(of_the_proxy())


def test_no_variable_is_missing() -> None:
    agents = of_the_agent()
    assert len(agents) > 55
    assert set(decisions()) - {GROUP} == agents


def test_what_the_proxy_reads_is_so() -> None:
    read = of_the_proxy()
    told = {name: text for name, (who, text) in decisions().items() if "proxy" in who and name != GROUP}
    assert set(told) == set(read)
    for name, text in told.items():
        assert text.startswith(f"`{read[name]}`"), name


def test_what_the_helper_reads_is_so() -> None:
    told = {name for name, (who, _) in decisions().items() if "helper" in who}
    assert told == {name for name in given.VARIABLES if name.startswith("SW_")}


def test_everything_else_has_its_reason() -> None:
    for name, (who, text) in decisions().items():
        assert who <= {"proxy", "helper", "no"}
        assert "no" not in who or (who == {"no"} and text), name


def test_no_name_of_the_agent_or_the_helper_is_warned_of() -> None:
    assert set(decisions()) - {GROUP} <= known_to_the_proxy()
    helpers = {name for name in given.VARIABLES if name.startswith("SKYSTITCH_") and name != "SKYSTITCH_TOKEN"}
    assert helpers <= known_to_the_proxy()
    unread = {name: "1" for name, (who, _) in decisions().items() if "proxy" not in who}
    done = run(
        "--upstream", "127.0.0.1:1", "--service", "shop", "--check", env={**unread, **dict.fromkeys(helpers, "x")}
    )
    assert done.returncode == 0, done.stderr
    assert "SW_" not in done.stderr, done.stderr
    assert "SKYSTITCH_" not in done.stderr, done.stderr
