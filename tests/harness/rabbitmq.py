# SPDX-License-Identifier: Apache-2.0
"""A real RabbitMQ, with a directory, a name and ports of its own; all it opens is on loopback."""

from __future__ import annotations

import shutil
import socket

from harness.process import Process, Stage, free_port

#: Debian's; /usr/sbin/rabbitmq-server would change the user first.
SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
_PROTOCOL_HEADER = b"AMQP\0\0\x09\x01"


def is_there() -> bool:
    return shutil.which(SERVER) is not None


class PortMapper(Process):
    """Erlang's: a node starts one by itself if there is none, and leaves it behind."""

    def __init__(self, stage: Stage) -> None:
        self.port = free_port()
        super().__init__(stage, "epmd", ["epmd", "-port", str(self.port), "-address", "127.0.0.1"])
        self.spawn()
        self.ready(self._listens, timeout=15)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class RabbitMq(Process):
    """Knows the user guest, with that password."""

    def __init__(self, stage: Stage) -> None:
        mapper = PortMapper(stage)
        home = stage.path("rabbitmq")
        home.mkdir()
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        (home / "rabbitmq.conf").touch()
        (home / "environment").touch()
        (home / "plugins").write_text("[].\n")
        env = {
            "HOME": str(home),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(mapper.port),
            "RABBITMQ_CONF_ENV_FILE": str(home / "environment"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": str(home),
            "RABBITMQ_MNESIA_BASE": str(home),
            "RABBITMQ_NODENAME": "skystitch@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        super().__init__(stage, "rabbitmq", [SERVER], env)
        self.spawn()
        self.ready(self._answers, timeout=60)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
                probe.sendall(_PROTOCOL_HEADER)
                return bool(probe.recv(1))
        except OSError:
            return False
