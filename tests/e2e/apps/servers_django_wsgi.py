# SPDX-License-Identifier: Apache-2.0
"""servers_django under WSGI."""

from django.core.wsgi import get_wsgi_application

import servers_django  # noqa: F401

application = get_wsgi_application()
