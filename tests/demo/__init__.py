# SPDX-License-Identifier: Apache-2.0
"""A Flask shop that calls a Django stock service, each behind its own skystitch."""
