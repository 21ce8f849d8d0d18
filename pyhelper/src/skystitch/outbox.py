# SPDX-License-Identifier: Apache-2.0
"""Where what this process says to proxies goes out: one set of channels, one count of losses."""

from __future__ import annotations

from typing import Callable

from skystitch import log
from skystitch.channel import FOREIGN, Channels
from skystitch.config import Config

#: Called with a request's sw8-stitch, once a second at most, after the answer is known: for what
#: the process says of itself.
beats: list[Callable[[str], None]] = []


class Outbox:
    """What agent.start() has configured for all requests, and for what belongs to none."""

    channels = Channels()
    token = ""


def configure(config: Config) -> None:
    Outbox.channels.close()
    Outbox.channels = Channels(config.channel_directory, config.proxy_uids)
    Outbox.token = config.token


def close() -> None:
    """Closes the connections to proxies."""
    Outbox.channels.close()


def send_standing(address: str, message: bytes) -> None:
    """Sends what belongs to no request."""
    channels = Outbox.channels
    found = channels.standing(address)
    if found is None or channels.send(found, message) == FOREIGN:
        count_lost()


def send_word(channel: str, message: bytes) -> int:
    """Sends what the process says of itself. What is lost of it is no loss of a segment."""
    return Outbox.channels.try_send(channel, message)


def standing_channel(setting: str) -> str:
    """The channel for what belongs to no request; empty when there is none."""
    return (setting and Outbox.channels.standing(setting)) or ""


def beat(field: str) -> None:
    """Lets the process say something of itself, once the answer to this request is known."""
    for tell in beats:
        try:
            tell(field)
        except Exception:
            log.internal_error("what the process says of itself")


def count_lost(count: int = 1) -> None:
    """Something of a segment came too late, or found no room: the next answer says so."""
    Outbox.channels.count_lost(count)
