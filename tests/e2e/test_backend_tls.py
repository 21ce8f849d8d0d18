# SPDX-License-Identifier: Apache-2.0
"""TLS towards the backend as an operator sets it: files are checked before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from harness.skystitch import run

OTHERWISE = {"SW_AGENT_COLLECTOR_BACKEND_SERVICES": "oap:11800", "SW_AGENT_NAME": "shop"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    ca = trustme.CA()
    leaf, other = ca.issue_cert("shop.example.org"), ca.issue_cert("stock.example.org")
    directory = tmp_path_factory.mktemp("tls")
    plain = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    blobs = {
        "ca": ca.cert_pem.bytes(),
        "certificate": b"".join(blob.bytes() for blob in leaf.cert_chain_pems),
        "key": leaf.private_key_pem.bytes(),
        "other": other.private_key_pem.bytes(),
        "encrypted": plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
        "garbage": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    }
    for name, blob in blobs.items():
        (directory / name).write_bytes(blob)
    return {name: directory / name for name in (*blobs, "absent")}


def check(files: dict[str, Path], ca: str = "ca", certificate: str = "certificate", key: str = "key") -> str:
    """The names are the Python agent's."""
    env = {
        "SW_AGENT_FORCE_TLS": "True",
        "SW_AGENT_SSL_TRUSTED_CA_PATH": str(files[ca]),
        "SW_AGENT_SSL_CERT_CHAIN_PATH": str(files[certificate]),
        "SW_AGENT_SSL_KEY_PATH": str(files[key]),
        **OTHERWISE,
    }
    done = run("--upstream", "app:8000", "--check", env=env)
    assert done.returncode == (2 if done.stderr else 0), done.stderr
    assert len(done.stderr.splitlines()) <= 1
    return done.stderr


def test_sound_files(files: dict[str, Path]) -> None:
    assert check(files) == ""


MISTAKES = {
    "no authority": ({"ca": "absent"}, "reporter.tls.ca"),
    "a key for an authority": ({"ca": "key"}, "reporter.tls.ca"),
    "garbage": ({"certificate": "garbage"}, "reporter.tls.certificate"),
    "no key": ({"key": "absent"}, "reporter.tls.key"),
    "a key of another": ({"key": "other"}, "key values mismatch"),
    "an encrypted key": ({"key": "encrypted"}, "reporter.tls.key"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake(files: dict[str, Path], kind: str) -> None:
    chosen, says = MISTAKES[kind]
    line = check(files, **chosen)
    assert says in line
    for name in chosen.values():
        assert str(files[name]) in line
