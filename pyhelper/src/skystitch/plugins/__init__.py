# SPDX-License-Identifier: Apache-2.0
"""The plugins: each has install(), which raises NotAvailable for a version it cannot work with, and
uninstall(), which restores the originals. They are imported with their framework, not before."""

#: A plugin's name, as SW_AGENT_DISABLE_PLUGINS knows it -> the module whose import it waits for.
PLUGINS = {
    "sw_aiohttp": "aiohttp",
    "sw_django": "django.core.handlers.wsgi",
    "sw_flask": "flask",
    "sw_http_client": "http.client",
    "sw_httpx": "httpx",
    "sw_requests": "requests",
    "sw_urllib3": "urllib3",
    "sw_urllib_request": "urllib.request",
}
