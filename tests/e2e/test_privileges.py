# SPDX-License-Identifier: Apache-2.0
"""user and group: what a process that root started may no longer do, and still can."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from harness import Origin, Skystitch, Stage, free_port, until
from harness.skystitch import run

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def ids(pid: int, name: str) -> set[int]:
    status = Path(f"/proc/{pid}/status").read_text()
    return {int(text) for text in status.partition(f"{name}:")[2].partition("\n")[0].split()}


@as_root
def test_every_thread_is_the_user(stage: Stage) -> None:
    log = stage.path("access.log")
    stage.path(".").chmod(0o777)
    config = {"user": "nobody", "group": "nogroup", "log": {"access": str(log)}}
    proxy = Skystitch(stage, Origin(stage, tcp=True).address, config=config)
    assert proxy.get("/").status_code == 200
    nobody, nogroup = 65534, 65534
    for thread in Path(f"/proc/{proxy.pid}/task").iterdir():
        assert ids(int(thread.name), "Uid") == {nobody}
        assert ids(int(thread.name), "Gid") == {nogroup}
        assert ids(int(thread.name), "Groups") <= {nogroup}, "none of root's"
        assert ids(int(thread.name), "NoNewPrivs") == {1}
    until(lambda: log.exists() and log.read_text(), "the line of the request")
    assert log.stat().st_uid == nobody
    os.kill(proxy.pid, signal.SIGHUP)
    until(lambda: proxy.metric("skystitch_reloads_total", result="done") == 1, "the reload")
    assert proxy.get("/").status_code == 200


@as_root
def test_pid_file_in_a_folder_of_root(stage: Stage) -> None:
    """The user may write the file that root has made, but not remove it: it is left empty."""
    folder = stage.path("run")
    folder.mkdir(0o755)
    stage.path(".").chmod(0o777)
    pid_file = folder / "skystitch.pid"
    config = {"user": "nobody", "group": "nogroup", "pid_file": str(pid_file)}
    proxy = Skystitch(stage, Origin(stage, tcp=True).address, config=config)
    assert pid_file.read_text() == f"{proxy.pid}\n"
    assert (pid_file.stat().st_uid, pid_file.stat().st_mode & 0o777) == (65534, 0o644)
    proxy.stop()
    assert pid_file.read_text() == ""


@pytest.mark.parametrize("option", ["user", "group"])
def test_a_name_that_is_not_there(option: str) -> None:
    done = run("--upstream", ":8000", "--set", f"{option}=no-such-name", "--check")
    assert done.returncode == 2
    assert f"{option}: there is no {option} no-such-name" in done.stderr


@as_root
def test_without_root_it_says_so() -> None:
    address = f"127.0.0.1:{free_port()}"
    try:
        done = run(
            "--upstream", ":8000", "--listen", address, "--set", "user=root", "--set", "admin.listen=off", uid=65534
        )
    except PermissionError:
        pytest.skip("nobody may not execute what is in this folder")
    assert done.returncode == 1
    assert "cannot become user 0" in done.stderr
    assert "start it as root" in done.stderr
