# SPDX-License-Identifier: Apache-2.0
"""The plugins: each has install(), which raises NotAvailable for a version it cannot work with, and
uninstall(), which restores the originals. They are imported with their framework, not before."""

from __future__ import annotations

#: A plugin's name, as SW_AGENT_DISABLE_PLUGINS knows it -> the module whose import it waits for, or
#: several: it is then asked to install() what is there after each.
PLUGINS: dict[str, str | tuple[str, ...]] = {
    "sw_aiohttp": "aiohttp",
    "sw_aiohttp_server": "aiohttp.web",
    "sw_asyncpg": "asyncpg",
    "sw_bottle": "bottle",
    "sw_celery": "celery",
    "sw_channels": ("channels.routing", "channels.consumer"),
    "sw_django": ("django.core.handlers.wsgi", "django.core.handlers.asgi"),
    "sw_elasticsearch": ("elasticsearch", "elastic_transport"),
    "sw_falcon": ("falcon.app", "falcon.asgi.app"),
    "sw_fastapi": "starlette.applications",
    "sw_flask": "flask",
    "sw_grpc": "grpc",
    "sw_http_client": "http.client",
    "sw_httpx": "httpx",
    "sw_kafka": "kafka",
    "sw_logging": "logging",
    "sw_mysqlclient": "MySQLdb",
    "sw_psycopg": "psycopg",
    "sw_psycopg2": "psycopg2",
    "sw_pymongo": "pymongo",
    "sw_pymysql": "pymysql",
    "sw_pyramid": "pyramid.router",
    "sw_rabbitmq": "pika",
    "sw_redis": "redis",
    "sw_requests": "requests",
    "sw_sanic": "sanic.app",
    "sw_simple_websocket": "simple_websocket.ws",
    "sw_sqlite3": "sqlite3",
    "sw_threads": "concurrent.futures.thread",
    "sw_tornado": "tornado.web",
    "sw_urllib3": "urllib3",
    "sw_urllib_request": "urllib.request",
}
