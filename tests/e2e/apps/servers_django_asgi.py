# SPDX-License-Identifier: Apache-2.0
"""servers_django under ASGI."""

from django.core.asgi import get_asgi_application

import servers_django  # noqa: F401

application = get_asgi_application()
