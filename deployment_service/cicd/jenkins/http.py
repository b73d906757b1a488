"""One HTTP exchange with Jenkins over python-jenkins: one request, one bounded answer.

python-jenkins alone follows redirects, has no overall timeout, and drops the body of errors.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jenkins
import requests
import requests.cookies
import urllib3
import urllib3.exceptions

from deployment_service.cicd.jenkins.wire import (
    Aborted,
    Adapter,
    AddressDenied,
    Exchange,
    current,
    current_exchange,
)

NO_ANSWER_IN_TIME = "no answer in time"
TOO_LARGE = "its answer is larger than"
UNTRUSTED = "its certificate isn't trusted"
_MAX_ANSWER_BYTES = 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_CONNECT_TIMEOUT_S = 5.0
_STATUSES_WITH_AUTHOR = (403, 500, 503)
# X509_V_ERR_… of OpenSSL: hostname and IP address mismatch; not yet valid, expired.
_OTHER_NAME = (62, 64)
_OUT_OF_TIME = (9, 10)


class TransportFailure(Exception):
    """No usable answer came. `reason` is for people and stands in brackets."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent
        """False only if it is certain that no byte of the request was sent, nor ever will be."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request. `path` is relative to the controller and already encoded.

    An answer of more than ``max_answer_bytes`` counts as none.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str | None = None
    max_answer_bytes: int = _MAX_ANSWER_BYTES


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What was answered. The body is read only where it can matter, and is empty otherwise."""

    status: int
    headers: Mapping[str, str]
    """Names in any case."""
    body: bytes = b""
    mark_expected: bool = True
    """Whether Jenkins' own header would have arrived: false behind a proxy that takes it away."""


class JenkinsClient(jenkins.Jenkins):  # type: ignore[misc]
    """python-jenkins, with our way to send and without its way to treat answers. For one thread."""

    def __init__(self, base_url: str, username: str, secret: str, verify: str | bool) -> None:
        super().__init__(base_url, username, secret)
        # False: there is none. With None python-jenkins would fetch one before each first request.
        self.crumb: Mapping[str, str] | bool = False
        session = self._session
        # Resolved by us: python-jenkins would try one method after the other if it finds more than
        # one, and the environment is not to choose a proxy, a netrc or a CA.
        # Jenkins answers 401 to an empty account, but serves a request without the header as anonymous.
        session.auth = (
            requests.auth.HTTPBasicAuth(username.encode(), secret.encode()) if username else None
        )
        self._auth_resolved = True
        session.trust_env = False
        session.verify = verify
        session.headers.update(
            {
                "User-Agent": "deployment-service",
                "Accept-Encoding": "identity",
                # Error headers are translated; ours to read is this language.
                "Accept-Language": "en",
            }
        )
        session.adapters.clear()
        for prefix in ("http://", "https://"):
            session.mount(prefix, Adapter(pool_maxsize=1, max_retries=0))

    def perform(self, request: HttpRequest, exchange: Exchange) -> HttpReply:
        """Carry out one exchange. Raises TransportFailure for every failure of the network."""
        current.exchange = exchange
        exchange.connected = False
        # The other end may close an idle connection at any moment. A read is then repeated once; a POST uses a new
        # connection, so that its outcome is never unclear for that reason.
        current.safe = request.method == "GET"
        current.fresh = not current.safe
        try:
            response = self.jenkins_request(self._message(request), stream=True)
            with contextlib.closing(response):
                return HttpReply(
                    response.status_code, response.headers, _read_body(request, response, exchange)
                )
        except Aborted:
            raise TransportFailure(NO_ANSWER_IN_TIME, sent=exchange.sent) from None
        except _FAILURES as error:
            raise TransportFailure(_reason(error), sent=exchange.sent) from None
        finally:
            exchange.finish()

    def perform_with_new_crumb(self, request: HttpRequest, exchange: Exchange) -> HttpReply | None:
        """Get a new crumb and carry out the exchange with it; None if Jenkins issues no crumb."""
        self.crumb = False
        reply = self.perform(HttpRequest("GET", "crumbIssuer/api/json"), exchange)
        if reply.status != 200:
            return None
        try:
            crumb = json.loads(reply.body)
            self.crumb = {key: str(crumb[key]) for key in ("crumbRequestField", "crumb")}
        except (ValueError, TypeError, KeyError):
            return None
        return self.perform(request, exchange)

    def close(self) -> None:
        """Close the idle connection, if there is one."""
        self._session.close()

    def _message(self, request: HttpRequest) -> requests.Request:
        headers = {}
        if request.content_type is not None:
            headers["Content-Type"] = request.content_type
        if current.fresh:
            headers["Connection"] = "close"
        return requests.Request(
            request.method,
            self.server + request.path,
            params=dict(request.params),
            data=request.body if request.body is not None else b"",
            headers=headers,
        )

    def _request(self, req: requests.Request, stream: bool | None = None) -> requests.Response:
        # Session.send() isn't used: even with redirects off it reads a redirect's whole body.
        session, exchange = self._session, current_exchange()
        prepared = session.prepare_request(req)
        adapter = session.get_adapter(prepared.url)
        while True:
            remaining_s = exchange.remaining_s()
            timeout = urllib3.Timeout(
                connect=min(remaining_s, _CONNECT_TIMEOUT_S), read=remaining_s
            )
            try:
                response: requests.Response = adapter.send(
                    prepared, stream=True, timeout=timeout, verify=session.verify, proxies={}
                )
            except requests.Timeout as error:
                # Here, because python-jenkins would raise an error with less detail.
                raise TransportFailure(_reason(error), sent=exchange.sent) from None
            except _FAILURES:
                if current.fresh or exchange.connected:
                    raise
                current.fresh = True
                continue
            # A crumb is valid only together with the session for which it was made.
            _keep_cookies(session.cookies, prepared, response.raw)
            return response

    def _response_handler(self, response: requests.Response) -> requests.Response:
        return response  # of any status: python-jenkins would raise an error without the body


_keep_cookies: Any = requests.cookies.extract_cookies_to_jar
_FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


def _read_body(request: HttpRequest, response: requests.Response, exchange: Exchange) -> bytes:
    """Read the body of data, and of errors whose body shows their author.

    Other bodies are HTML for a browser, or empty.
    """
    if response.status_code in _STATUSES_WITH_AUTHOR:
        return _read_start(response, exchange)
    if response.status_code != 200 or request.method != "GET":
        return b""
    body = bytearray()
    for chunk in response.iter_content(_CHUNK_BYTES):
        exchange.remaining_s()
        body += chunk
        if len(body) > request.max_answer_bytes:
            limit_kib = request.max_answer_bytes // 1024
            raise TransportFailure(f"{TOO_LARGE} {limit_kib} KiB", sent=True)
    exchange.remaining_s()
    return bytes(body)


def _read_start(response: requests.Response, exchange: Exchange) -> bytes:
    """Read the start of an error page. A body that breaks off does not change the status."""
    body = bytearray()
    try:
        for chunk in response.iter_content(_CHUNK_BYTES):
            exchange.remaining_s()
            body += chunk
            if len(body) >= _CHUNK_BYTES:
                break
    except _FAILURES:
        pass
    return bytes(body)


def _reason(error: BaseException) -> str:
    """Return why no answer came, in a few words, without hosts, addresses or names of libraries."""
    for cause in _causes(error):
        if isinstance(cause, AddressDenied):
            return "its address is not a public one, and no operator has allowed its origin"
        if isinstance(cause, socket.gaierror):
            return "its host name can't be resolved"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"{UNTRUSTED}: {cause.verify_message}. {_certificate_advice(cause)}"
        if isinstance(cause, ssl.SSLError):
            return "the TLS handshake failed"
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
        if isinstance(cause, TimeoutError | requests.Timeout | urllib3.exceptions.ReadTimeoutError):
            return NO_ANSWER_IN_TIME
        if isinstance(cause, ConnectionError):
            return "the connection broke before the answer"
        if type(cause) is OSError and cause.errno:
            return os.strerror(cause.errno).lower()
    return "the connection broke before the answer"


def _certificate_advice(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _OTHER_NAME:
        return (
            "It is for another host: use the certificate's name in base_url, or set ca_certificate_pem of the "
            "provider to the CA of a server that has one for this name"
        )
    if error.verify_code in _OUT_OF_TIME:
        return "Renew it, and check the clocks of both machines"
    return "Set ca_certificate_pem of the provider to the CA that signed it"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the causes from the innermost outwards, through every way in which the libraries wrap errors."""
    inner = [error.__cause__, error.__context__, getattr(error, "reason", None), *error.args[:2]]
    for cause in inner:
        if isinstance(cause, BaseException) and cause is not error:
            yield from _causes(cause)
    yield error
