# SPDX-License-Identifier: Apache-2.0
"""Certificates of a test's own, made by openssl; nothing of them is ever kept."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    certificate: Path
    key: Path

    def config(self) -> dict[str, str]:
        return {"certificate": str(self.certificate), "key": str(self.key)}


class Pki:
    """An authority and what it has signed, as files of `directory`."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self.directory = directory
        self.authority = self._make(name, ["-subj", f"/CN={name}"])

    def _make(self, name: str, arguments: list[str]) -> Pair:
        pair = Pair(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        files = ["-keyout", str(pair.key), "-out", str(pair.certificate)]
        command = ["openssl", "req", "-x509", *curve, "-days", "2", *files, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return pair

    def sign(self, name: str, *alternatives: str) -> Pair:
        """A pair for these names, as `DNS:localhost` and `IP:127.0.0.1`."""
        signer = ["-CA", str(self.authority.certificate), "-CAkey", str(self.authority.key)]
        names = ["-addext", f"subjectAltName={','.join(alternatives)}"] if alternatives else []
        end = ["-addext", "basicConstraints=critical,CA:FALSE"]
        return self._make(name, ["-subj", f"/CN={name}", *signer, *end, *names])

    def context(
        self, version: ssl.TLSVersion | None = None, client: Pair | None = None, *, trusting: bool = True
    ) -> ssl.SSLContext:
        """A client's: it knows this authority, or (trusting=False) none at all."""
        context = ssl.create_default_context(cafile=str(self.authority.certificate) if trusting else None)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if client is not None:
            context.load_cert_chain(client.certificate, client.key)
        return context
