# SPDX-License-Identifier: Apache-2.0
"""The way of messages to the proxy: one SOCK_SEQPACKET connection per process and channel.

Happy path: first message -> connect -> the listener's uid is checked -> send; later ones: send.

A message is lost, counted, and never tried again, when
  * the channel cannot be reached: no such address, refused, no permission;
  * the proxy does not read fast enough (EAGAIN);
  * the proxy has gone (EPIPE): the connection is dropped, the next message connects anew.
A listener under a uid that is not trusted gets nothing: FOREIGN, and the caller decides.
"""

from __future__ import annotations

# The C module itself: gevent and eventlet replace what is in `socket`, and a patched socket would
# wait for its hub where this one must not wait at all.
import _socket
import os
import sys
from collections import deque
from time import monotonic

from skystitch.log import warn_once

SENT = 0
LOST = 1
# The other side may not have the message: the request counts as one without a channel.
FOREIGN = 2

_PREFIX = "skystitch-"
_MAX_CONNECTIONS = 64
_MAX_REMEMBERED_LOSSES = 1024
_UCRED_BYTES = 12
_SEARCH_EVERY_S = 1.0
_MAX_CANDIDATES = 64
_SUPPORTED = hasattr(_socket, "SO_PEERCRED") and hasattr(_socket, "SOCK_SEQPACKET")


#: What was lost in this process and not yet told to a proxy: one number a loss.
losses: deque[int] = deque(maxlen=_MAX_REMEMBERED_LOSSES)


class Channels:
    """All connections of this process. Threads share them without a lock: a message is one system
    call, and two threads that connect at the same time leave one connection to the other."""

    __slots__ = ("_connections", "_directory", "_pid", "_search_at", "_standing", "_uids")

    def __init__(self, directory: str = "", uids: frozenset[int] = frozenset()) -> None:
        self._directory = directory
        self._uids = uids
        self._pid = os.getpid()
        self._connections: dict[str, _socket.socket] = {}
        self._standing: str | None = None
        self._search_at = 0.0

    def standing(self, setting: str) -> str | None:
        """The address for what belongs to no request: setting, or for `auto` the first channel in
        the directory, or without one on this machine, that takes a connection. It is looked for
        once a second at most."""
        if setting != "auto":
            return setting
        if self._standing in self._connections:
            return self._standing
        now = monotonic()
        if now < self._search_at:
            return None
        self._search_at = now + _SEARCH_EVERY_S
        self._standing = next(filter(self._is_reachable, self._candidates()), None)
        return self._standing

    def leads_somewhere(self, address: str) -> bool:
        """Whether messages to this address would be sent at all."""
        return _SUPPORTED and self._target(address) is not None

    def send(self, address: str, message: bytes) -> int:
        """Hands a message to the kernel (SENT), counts it as lost (LOST), or says that the other
        side may not have it (FOREIGN). Never raises, never waits."""
        outcome = self.try_send(address, message)
        if outcome == LOST:
            self.count_lost()
        return outcome

    def try_send(self, address: str, message: bytes) -> int:
        """The same, for what is not counted."""
        self._notice_fork()
        connection = self._connections.get(address)
        if connection is None:
            outcome, connection = self._connect(address)
            if connection is None:
                return outcome
        try:
            connection.send(message, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return LOST
        except OSError:
            self._drop(address, connection)
            return LOST
        return SENT

    def count_lost(self, count: int = 1) -> None:
        """Adds to what the next answer header tells the proxy."""
        losses.append(count)

    def take_losses(self) -> int:
        """What was lost in this process since the last call."""
        self._notice_fork()
        total = 0
        try:
            while losses:
                total += losses.popleft()
        except IndexError:  # another thread took the last one
            pass
        return total

    def close(self) -> None:
        while self._connections:
            self._connections.popitem()[1].close()

    def _notice_fork(self) -> None:
        pid = os.getpid()
        if pid == self._pid:
            return
        # Closes this process's descriptors; the parent's connections stay as they are.
        self._pid = pid
        losses.clear()
        self.close()

    def _target(self, address: str) -> str | None:
        """Where to connect. Whoever reaches the app around the proxy can name any address: only
        names that the proxy gives, and only in the directory that was configured, are used."""
        if not address.isascii() or "\0" in address:
            return None
        if address.startswith("@" + _PREFIX):
            return "\0" + address[1:]
        name = address.rpartition("/")[2]
        if self._directory and address[:1] == "/" and name.startswith(_PREFIX):
            return f"{self._directory}/{name}"
        return None

    def _candidates(self) -> list[str]:
        try:
            if self._directory:
                names = sorted(os.listdir(self._directory))[:_MAX_CANDIDATES]
                return [f"{self._directory}/{name}" for name in names if name.startswith(_PREFIX)]
            with open("/proc/net/unix", encoding="ascii", errors="replace") as table:
                found = (line.rpartition(" ")[2].strip() for line in table)
                ours = {name for name in found if name.startswith("@" + _PREFIX)}
            return sorted(ours)[:_MAX_CANDIDATES]
        except OSError:
            return []

    def _is_reachable(self, address: str) -> bool:
        self._notice_fork()
        return address in self._connections or self._connect(address)[1] is not None

    def _connect(self, address: str) -> tuple[int, _socket.socket | None]:
        target = self._target(address)
        if not _SUPPORTED or target is None:
            return FOREIGN, None
        connection = None
        try:
            connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
            connection.setblocking(False)
            connection.connect(target)
            uid = _peer_uid(connection)
        except OSError:
            if connection is not None:
                connection.close()
            return LOST, None
        if uid not in self._uids:
            connection.close()
            warn_once(
                f"uid of {address}",
                "skystitch: the proxy at %s runs as uid %d, this app as %d: it gets routes and"
                " times only. SKYSTITCH_PROXY_UID=%d lets it have the rest.",
                address,
                uid,
                os.geteuid(),
                uid,
            )
            return FOREIGN, None
        return SENT, self._keep(address, connection)

    def _keep(self, address: str, connection: _socket.socket) -> _socket.socket:
        # A new channel mostly means a new proxy: time to let go of the old one's.
        for old, known in list(self._connections.items()):
            if _is_hung_up(known) or len(self._connections) >= _MAX_CONNECTIONS:
                self._drop(old, known)
        kept = self._connections.setdefault(address, connection)
        if kept is not connection:
            connection.close()
        return kept

    def _drop(self, address: str, connection: _socket.socket) -> None:
        if self._connections.get(address) is connection:
            self._connections.pop(address, None)
        connection.close()


def _peer_uid(connection: _socket.socket) -> int:
    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _UCRED_BYTES)
    return int.from_bytes(credentials[4:8], sys.byteorder)


def _is_hung_up(connection: _socket.socket) -> bool:
    try:
        return not connection.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
