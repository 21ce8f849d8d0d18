# SPDX-License-Identifier: Apache-2.0
"""A real Kafka broker."""

from kafka_broker.server import Kafka

__all__ = ["Kafka"]
