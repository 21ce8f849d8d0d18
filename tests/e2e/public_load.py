# SPDX-License-Identifier: Apache-2.0
"""Load by public clients, all at once: wrk and h2load, with and without TLS."""

from __future__ import annotations

import re
import signal
import subprocess
import threading

H2LOAD_TOTALS = re.compile(
    r"requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout"
)


class Wrk:
    """Connections that are kept for as long as the proxy keeps them; `options` are wrk's own."""

    def __init__(self, url: str, *options: str, connections: int = 8) -> None:
        command = ["wrk", "-t1", f"-c{connections}", "-d3600s", "--timeout", "60s", *options, url]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def stop(self) -> int:
        """The number of requests; an AssertionError tells of one that failed."""
        self.process.send_signal(signal.SIGINT)
        output = self.process.communicate(timeout=60)[0]
        assert "Socket errors" not in output, output
        assert "Non-2xx" not in output, output
        return int(re.search(r"(\d+) requests in", output).group(1))  # type: ignore[union-attr]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class H2load:
    """One run after the other, each on connections of its own.

    It opens no second connection after GOAWAY: where connections have an end, `requests` must be
    what all of them send at once. `options` are h2load's own.
    """

    def __init__(self, url: str, *options: str, requests: int, connections: int = 4, streams: int = 8) -> None:
        self.command = ["h2load", f"-n{requests}", f"-c{connections}", f"-m{streams}", *options, url]
        self.requests = requests
        self.done = 0
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            output = subprocess.run(self.command, capture_output=True, text=True, timeout=300).stdout
            totals = H2LOAD_TOTALS.search(output)
            succeeded = int(totals.group(4)) if totals else 0
            self.done += succeeded
            if succeeded != self.requests or f"status codes: {succeeded} 2xx" not in output:
                self.failures.append(output)

    def stop(self) -> int:
        self._stop.set()
        self._thread.join(300)
        assert not self._thread.is_alive()
        assert self.failures == [], f"{len(self.failures)} runs: {self.failures[0]}"
        return self.done

    def kill(self) -> None:
        self._stop.set()
