"""Debian's HAProxy and nginx in front of a gRPC server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from tests.platform.components import component, folder, free_port, program

HAPROXY = """
global
    log stdout format raw local0
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
frontend grpc
    bind 127.0.0.1:{port} proto h2
    default_backend service
backend service
    server one 127.0.0.1:{target} proto h2
"""
NGINX = """
daemon off;
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} http2;
        client_max_body_size 0;
        location / {{
            grpc_pass grpc://127.0.0.1:{target};
            grpc_read_timeout 60s;
            grpc_send_timeout 60s;
        }}
    }}
}}
"""


@contextlib.asynccontextmanager
async def grpc_proxy(name: str, target: int) -> AsyncIterator[int]:
    """Run ``haproxy`` or ``nginx`` in front of a port of 127.0.0.1; yield the port to call."""
    port = free_port()
    async with folder() as path:
        configuration = path / "configuration"
        template = HAPROXY if name == "haproxy" else NGINX
        configuration.write_text(template.format(port=port, target=target, folder=path))
        option = "-f" if name == "haproxy" else "-c"
        command = [program(name), option, str(configuration)]
        async with component(command, port=port, log=path / "log"):
            yield port
