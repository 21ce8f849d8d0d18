# SPDX-License-Identifier: Apache-2.0
"""Starts the tracer that APP_AGENT names, before any framework is imported."""

import os


def start() -> None:
    agent = os.environ.get("APP_AGENT", "skystitch")
    if agent == "skystitch":
        from skystitch import agent as skystitch

        skystitch.start()
    elif agent == "skywalking":
        from skywalking import agent as skywalking

        skywalking.start()
    elif agent != "none":
        raise SystemExit(f"APP_AGENT={agent}: skystitch, skywalking or none")
