# SPDX-License-Identifier: Apache-2.0
"""Segments on disk: through outages, stops, kills, full and damaged disks, each is confirmed or counted."""

from __future__ import annotations

import contextlib
import os
import resource
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.process import free_port
from reporter.drive import Drive, wait_until
from reporter.grpc_collector import Collector

Start = Callable[..., Drive]
MEMORY = 1 << 20
# Three quarters of the backlog, which is half of the memory.
HIGH = MEMORY * 3 // 8
# More than twice what the memory holds.
MANY = 3000
SIZE = 400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def away() -> str:
    """An address where a collector may come up later."""
    return f"127.0.0.1:{free_port()}"


def collector_at(address: str) -> Collector:
    return Collector(int(address.rpartition(":")[2]))


def fill(d: Drive, count: int = MANY) -> dict[str, int]:
    """In steps, so that neither the rings nor the disk fall behind; until all that is to be spooled is on disk."""
    wait_until(lambda: d.counters()["spool_ready"], d.log)
    for _ in range(count // 100):
        d.push(100, SIZE)
        d.settle()
        wait_until(lambda: d.counters()["backlog_bytes"] <= HIGH or not d.counters()["spool_ready"], d.counters)
    wait_until(lambda: is_on_disk(d.counters()), d.counters)
    return d.settle()


def is_on_disk(counters: dict[str, int]) -> bool:
    written = counters["spool_found"] + counters["spool_written"]
    gone = counters["spool_read"] + counters["dropped_spool_full"]
    return written - gone == counters["spool_segments"] or not counters["spool_ready"]


def spools(drive: Start, address: str, folder: Path, **options: object) -> Drive:
    return drive(address, spool=folder, memory=MEMORY, batch=65536, interval_ms=10, **options)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


def test_what_memory_does_not_hold(drive: Start, folder: Path, away: str) -> None:
    d = spools(drive, away, folder)
    counters = fill(d)
    assert counters["spool_segments"] > MANY / 2
    assert counters["backlog_bytes"] <= MEMORY
    with collector_at(away) as collector:
        counters = d.wait(confirmed=MANY, spool_segments=0, backlog_segments=0)
        assert sorted(collector.ids()) == sorted(f"segment-{i}" for i in range(MANY))
    assert counters["spool_written"] == counters["spool_read"] > 0
    wait_until(lambda: files(folder) == [], lambda: files(folder))
    assert d.stop(1000)["dropped_stop"] == 0


def test_live_ones_first_then_in_order(drive: Start, folder: Path, away: str) -> None:
    d = spools(drive, away, folder)
    spooled = fill(d)["spool_segments"]
    with collector_at(away) as collector:
        d.wait(confirmed=MANY)
        numbers = [int(name.partition("-")[2]) for name in collector.ids()]
    assert numbers[0] >= spooled
    # One call at a time, so that they arrive in the order of the files.
    assert [number for number in numbers if number < spooled] == list(range(spooled))


def test_rate_is_limited(drive: Start, folder: Path, away: str) -> None:
    d = spools(drive, away, folder, spool_rate=100000)
    fill(d)
    with collector_at(away):
        d.wait(backlog_segments=0)
        counters = d.counters()
        assert counters["spool_segments"] > 500
        d.push(10, SIZE)
        d.wait_at_least(confirmed=counters["confirmed"] + 10)
        assert d.stop(1000)["spool_segments"] > 100


def test_stop_keeps_what_is_unsent(drive: Start, folder: Path, away: str) -> None:
    d = spools(drive, away, folder)
    fill(d)
    d.wait_at_least(calls_failed=1)
    counters = d.stop(15000)
    assert (counters["spool_segments"], counters["dropped_stop"], counters["backlog_segments"]) == (MANY, 0, 0)
    assert "segments are kept in the spool" in d.log()
    d.close()
    later = spools(drive, away, folder)
    with collector_at(away) as collector:
        later.wait(confirmed=MANY, spool_found=MANY, lost_in_crash=0)
        assert sorted(collector.ids()) == sorted(f"segment-{i}" for i in range(MANY))


def test_stop_before_the_first_answer(drive: Start, folder: Path, away: str) -> None:
    d = spools(drive, away, folder)
    d.push(10)
    assert d.stop(15000)["spool_segments"] == 10


def test_killed_with_a_filled_spool(drive: Start, folder: Path, away: str) -> None:
    """What was on disk is sent; what was in memory is counted by the next process, to the last one."""
    d = spools(drive, away, folder)
    counters = fill(d)
    d.push(77, SIZE)
    d.kill()
    later = spools(drive, away, folder)
    with collector_at(away) as collector:
        told = later.wait(spool_segments=0, backlog_segments=0, spool_found=counters["spool_segments"])
        assert told["spool_found"] + told["lost_in_crash"] == MANY + 77
        assert len(set(collector.ids())) == told["confirmed"] == counters["spool_segments"]
    assert f"{told['lost_in_crash']} segments were in the memory of a process that was killed" in later.log()
    later.close()
    assert spools(drive, away, folder).wait(spool_ready=True)["lost_in_crash"] == 0


def test_killed_while_it_reads_back(drive: Start, folder: Path, away: str) -> None:
    """Only the part under way is sent twice."""
    d = spools(drive, away, folder, spool_rate=200000)
    in_memory = fill(d)["backlog_segments"]
    with collector_at(away) as collector:
        d.wait_at_least(confirmed=in_memory + 500)
        d.kill()
        before = set(collector.ids())
        collector.segments.clear()
        later = spools(drive, away, folder)
        told = later.wait(spool_segments=0, backlog_segments=0, spool_ready=True)
        after = set(collector.ids())
        assert MANY - len(before | after) <= told["lost_in_crash"] < in_memory
        assert len(before & after) < 400


def test_the_oldest_go_when_it_is_full(drive: Start, folder: Path, away: str) -> None:
    d = spools(drive, away, folder, spool_max=1 << 20)
    counters = fill(d, 6000)
    assert counters["dropped_spool_full"] > 500
    assert counters["dropped_backlog"] == 0
    assert sum(file.stat().st_size for file in files(folder)) <= 1 << 20
    assert "reporter.spool.max is reached" in d.log()
    with collector_at(away) as collector:
        d.wait(spool_segments=0, backlog_segments=0)
        assert "segment-5999" in collector.ids()
        assert "segment-0" not in collector.ids()


def test_one_process_at_a_time(drive: Start, folder: Path, away: str) -> None:
    first = spools(drive, away, folder)
    fill(first, 200)
    second = spools(drive, away, folder)
    wait_until(lambda: f"is in use by process {first.process.pid}" in second.log(), second.log)
    second.push(100)
    assert not second.counters()["spool_ready"]
    assert first.stop(15000)["spool_segments"] == 200
    first.close()
    second.wait(spool_ready=True, spool_found=200)
    with collector_at(away):
        second.wait(confirmed=300)


def test_files_are_the_owners(drive: Start, folder: Path, away: str) -> None:
    d = spools(drive, away, folder)
    fill(d)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_folder_that_everybody_may_write_to(drive: Start, folder: Path, away: str) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    d = spools(drive, away, folder)
    wait_until(lambda: "everybody may write to it" in d.log(), d.log)
    folder.chmod(0o755)
    d.wait(spool_ready=True)


def test_folder_that_comes_later(drive: Start, tmp_path: Path, away: str) -> None:
    d = spools(drive, away, tmp_path / "volume" / "spool")
    wait_until(lambda: "No such file" in d.log(), d.log)
    (tmp_path / "volume").mkdir()
    fill(d)
    assert d.counters()["spool_segments"] > MANY / 2


def stopped_spool(drive: Start, folder: Path, away: str) -> None:
    d = spools(drive, away, folder)
    fill(d)
    assert d.stop(15000)["spool_segments"] == MANY
    d.close()


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 4096, b"\xff" * 100, b"\x10\0\0\0abcd\0xx"], ids=range(4))
def test_torn_end(drive: Start, folder: Path, away: str, tail: bytes) -> None:
    stopped_spool(drive, folder, away)
    with files(folder)[-1].open("ab") as file:
        file.truncate(file.tell() - 17)
        file.write(tail)
    later = spools(drive, away, folder)
    with collector_at(away) as collector:
        later.wait(confirmed=MANY, spool_segments=0)
        assert len(set(collector.ids())) == MANY


def test_damage_in_the_middle(drive: Start, folder: Path, away: str) -> None:
    stopped_spool(drive, folder, away)
    damaged = files(folder)[0]
    with damaged.open("r+b") as file:
        file.seek(damaged.stat().st_size // 2)
        file.write(b"?")
    later = spools(drive, away, folder)
    with collector_at(away):
        counters = later.wait(spool_segments=0, backlog_segments=0, spool_found=MANY)
        assert 0 < counters["dropped_spool_damaged"] < MANY / 2
        assert counters["confirmed"] + counters["dropped_spool_damaged"] == MANY


def test_foreign_files_are_left_alone(drive: Start, folder: Path, away: str) -> None:
    stopped_spool(drive, folder, away)
    foreign = folder / "00000000000000ff.spool"
    foreign.write_bytes(b"SKYSPOOL of another time")
    later = spools(drive, away, folder)
    wait_until(lambda: "is left alone" in later.log(), later.log)
    with collector_at(away):
        later.wait(confirmed=MANY, spool_segments=0)
    assert foreign.exists()


def test_lost_state_repeats_but_loses_nothing(drive: Start, folder: Path, away: str) -> None:
    stopped_spool(drive, folder, away)
    (folder / "state").write_bytes(b"nonsense")
    later = spools(drive, away, folder)
    with collector_at(away):
        later.wait(confirmed=MANY, lost_in_crash=0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """1 MiB of tmpfs."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", disk]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_disk_full(drive: Start, small_disk: Path, away: str) -> None:
    """Counted, said once; goes on in memory; goes on with the disk when there is room again."""
    d = spools(drive, away, small_disk / "spool")
    fill(d, 2800)
    for _ in range(50):
        d.push(100, SIZE)
        d.settle()
    counters = d.wait_at_least(spool_failures=1, dropped_backlog=1)
    assert not counters["spool_ready"]
    assert counters["backlog_bytes"] <= MEMORY
    assert d.log().count("cannot write to the spool") == 1
    assert "No space left" in d.log()
    subprocess.run(["mount", "-o", "remount,size=32m", small_disk], check=True)
    d.wait(spool_ready=True)
    with collector_at(away) as collector:
        counters = d.wait(spool_segments=0, backlog_segments=0)
        assert len(set(collector.ids())) == counters["confirmed"]


def use_up(disk: Path) -> None:
    """To its last block."""
    with contextlib.suppress(OSError), (disk / "other").open("wb", buffering=0) as other:
        while True:
            other.write(bytes(4096))


def test_disk_full_until_the_end(drive: Start, small_disk: Path, away: str) -> None:
    d = spools(drive, away, small_disk / "spool")
    fill(d, 2800)
    counters = d.stop(15000)
    assert counters["dropped_stop"] > 0
    assert counters["spool_segments"] > 0
    d.close()
    use_up(small_disk)
    later = spools(drive, away, small_disk / "spool")
    with collector_at(away):
        later.wait(spool_segments=0, confirmed=counters["spool_segments"], lost_in_crash=0)


def test_file_size_limit(drive: Start, folder: Path, away: str) -> None:
    """As a quota: a write that fails in its middle leaves no torn record."""
    d = spools(drive, away, folder)
    fill(d, 100)
    resource.prlimit(d.process.pid, resource.RLIMIT_FSIZE, (100000, 100000))
    for _ in range(MANY // 100):
        d.push(100, SIZE)
        d.settle()
    d.wait_at_least(spool_failures=1)
    with collector_at(away):
        d.wait(spool_segments=0, backlog_segments=0, dropped_spool_damaged=0)
