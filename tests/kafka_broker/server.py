# SPDX-License-Identifier: Apache-2.0
"""Starts one Kafka node (broker and controller, KRaft) from its Maven artifacts."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

from harness.process import ROOT, Process, Stage, free_port

HERE = Path(__file__).parent
VERSION = "3.9.1"
CLUSTER_ID = "c2t5c3RpdGNoLXRlc3RzMA"


def jars() -> Path:
    """The broker's jars, fetched once into build/."""
    directory = ROOT / "build" / f"kafka-{VERSION}"
    if not directory.exists():
        made = directory.with_suffix(".part")
        shutil.rmtree(made, ignore_errors=True)
        pom = ["-f", HERE / "pom.xml", f"-Dkafka.version={VERSION}"]
        copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={made}"]
        subprocess.run(["mvn", "-q", "-B", "-ntp", *pom, *copy], check=True, stdin=subprocess.DEVNULL)
        made.rename(directory)
    return directory


class Kafka(Process):
    """Makes topics by itself, with one partition; kill and spawn keep what it holds."""

    def __init__(self, stage: Stage) -> None:
        self.port, controller = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        data = stage.path("kafka-data")
        properties = stage.path("kafka.properties")
        properties.write_text(
            f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://{self.address}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
"""
        )
        java = ["java", "-Xmx512m", "-cp", f"{jars()}/*"]
        tool = [*java, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", properties]
        subprocess.run(tool, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        super().__init__(stage, "kafka", [*java, "kafka.Kafka", properties], {})
        self.start()

    def start(self) -> None:
        self.spawn()
        self.ready(self._answers, timeout=60)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False
