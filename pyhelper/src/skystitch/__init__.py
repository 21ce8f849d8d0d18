# SPDX-License-Identifier: Apache-2.0
"""Hands an app's part of a trace to the skystitch proxy in front of it.

from skystitch import agent
agent.start()
"""

from skystitch._version import __version__

__all__ = ["__version__"]
