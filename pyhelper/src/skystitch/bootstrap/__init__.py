# SPDX-License-Identifier: Apache-2.0
"""The directory that `python -m skystitch run` puts first into PYTHONPATH."""
