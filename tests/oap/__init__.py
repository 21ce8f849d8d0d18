# SPDX-License-Identifier: Apache-2.0
"""A real SkyWalking OAP server, and its GraphQL."""

from oap.server import Oap

__all__ = ["Oap"]
