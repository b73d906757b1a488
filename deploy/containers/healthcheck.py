"""Ask a process in this container whether it is alive: exit 0 if it is, 1 with a line on stderr if not.

    healthcheck.py grpc 127.0.0.1:50051 liveness
    healthcheck.py http http://127.0.0.1:8080/healthz

The images have no curl. `{hostname}` in a URL stands for the container's own name.
"""

from __future__ import annotations

import socket
import sys
import urllib.request

_TIMEOUT_S = 4.0  # below the timeout of the HEALTHCHECK, so that the reason is printed


def check_grpc(target: str, name: str) -> None:
    """Raise unless the health service at ``target`` says that ``name`` is SERVING."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    # No proxy: http_proxy is for calls to Jenkins, not for this container.
    with grpc.insecure_channel(target, options=(("grpc.enable_http_proxy", 0),)) as channel:
        request = health_pb2.HealthCheckRequest(service=name)
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_TIMEOUT_S)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise ConnectionError(f"status {answer.status}")


def check_http(url: str) -> None:
    """Raise unless ``url`` answers 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url.replace("{hostname}", socket.gethostname()), timeout=_TIMEOUT_S) as answer:
        if answer.status != 200:
            raise ConnectionError(f"HTTP status {answer.status}")


def main(arguments: list[str]) -> int:
    """Return the exit code for these arguments."""
    try:
        match arguments:
            case ["grpc", target, name]:
                check_grpc(target, name)
            case ["http", url]:
                check_http(url)
            case _:
                sys.stderr.write((__doc__ or "") + "\n")
                return 2
    except Exception as error:
        sys.stderr.write(f"unhealthy: {type(error).__name__}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
