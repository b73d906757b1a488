"""Derive findings about a provider's settings from the facts of a survey. Each names the next step. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from deployment_service.domain import provider_permissions as permissions
from deployment_service.domain.findings import Finding, Kind, Severity
from deployment_service.domain.provider_facts import Access, ControllerFacts, Place

CLOCK_TOLERANCE_S = 60.0
"""A larger clock difference is a finding, in seconds. Signatures of webhooks allow five minutes."""
TRIED_VERSION = (2, 440)
"""The version of Jenkins that the service was tested with."""
_MAX_URL_CHARS = 150
UNREACHABLE_FOR_TENANTS = (
    "no such host, no answer, or an address that no operator has allowed; operators see which in the "
    "log of the service"
)


class CheckedSettings(Protocol):
    """The settings of a provider, in normal form."""

    @property
    def base_url(self) -> str: ...
    @property
    def username(self) -> str: ...
    @property
    def reporting(self) -> str: ...
    @property
    def webhook_base_url(self) -> str: ...
    @property
    def job_folder(self) -> str: ...
    @property
    def allowed_folders(self) -> tuple[str, ...]: ...
    @property
    def allowed_job_kinds(self) -> tuple[str, ...]: ...
    @property
    def private_console(self) -> bool: ...


def folders_of(settings: CheckedSettings) -> tuple[str, ...]:
    """Return the folders of the provider's jobs; new jobs go into the first. An empty name is the root."""
    first = () if settings.allowed_folders and not settings.job_folder else (settings.job_folder,)
    return tuple(dict.fromkeys((*first, *settings.allowed_folders)))


def findings_of(
    settings: CheckedSettings, facts: ControllerFacts, *, webhook_path: str, coarse: bool
) -> tuple[Finding, ...]:
    """Return the findings that follow from the facts, errors first.

    ``webhook_path``: the path below ``webhook_base_url`` to which jobs post.
    ``coarse``: omit details of the network between the service and Jenkins, which the caller may not see.
    """
    found = [*_place(settings, facts, coarse=coarse)]
    if facts.place is Place.ROOT:
        found += _account(settings, facts)
        found += permissions.judge(
            facts,
            account=settings.username or "anonymous",
            folders=folders_of(settings),
            creates=_creates(settings),
            secrets=_creates(settings)
            and _uses_webhooks(settings)
            and not settings.private_console,
        )
        found += _reading(facts)
        found += _plugin(settings, facts)
    found += _clock(facts)
    found += _webhooks(settings, webhook_path)
    found += _folders(settings)
    if not facts.complete:
        found.append(
            Finding(
                Kind.INCOMPLETE,
                Severity.WARNING,
                "The check ended before everything was tested: Jenkins answers slowly, or there are many folders. What "
                "is not listed is unknown. Check the provider again.",
            )
        )
    order = list(Severity)
    return tuple(sorted(found, key=lambda one: order.index(one.severity)))


def _place(settings: CheckedSettings, facts: ControllerFacts, *, coarse: bool) -> Iterator[Finding]:
    url, see = _shown(settings.base_url), _shown(facts.suggested_url)
    detail = UNREACHABLE_FOR_TENANTS if coarse and facts.network_detail else facts.detail
    match facts.place:
        case Place.ROOT:
            yield from _root(settings, facts)
        case Place.UNREACHABLE:
            yield Finding(
                Kind.UNREACHABLE,
                Severity.WARNING,
                f"{url} can't be reached ({detail}). Its Jenkins could not be checked, and no job can be created "
                "or run until it answers. Start it, or correct base_url, then check the provider again.",
                "base_url",
            )
        case Place.UNAVAILABLE:
            yield Finding(
                Kind.UNAVAILABLE,
                Severity.WARNING,
                f"{detail}. The settings could not be checked. Check the provider again when Jenkins is up"
                + (" and the proxy in front of it lets requests pass." if facts.by_front else "."),
                "base_url",
            )
        case Place.UNTRUSTED:
            yield _wrong(
                Kind.CERTIFICATE,
                f"{url} can't be used: {facts.detail}. Nothing was sent there.",
                "ca_certificate_pem",
            )
        case Place.REDIRECT:
            next_step = f"Set base_url to {see}." if see else _NO_LOGIN
            yield _wrong(
                Kind.REDIRECT,
                f"{url} redirects elsewhere (HTTP {facts.status}), and redirects are not followed. {next_step}",
                "base_url",
            )
        case Place.NOT_JENKINS:
            yield _wrong(
                Kind.NOT_JENKINS,
                f"{url} is not the address of a Jenkins: {facts.detail}. Set base_url to Jenkins' root, with its path "
                f"prefix if it has one. {_https_perhaps(settings, facts)}{_NO_LOGIN}",
                "base_url",
            )
        case Place.INSIDE:
            yield _wrong(
                Kind.NOT_ROOT,
                f"{url} is a {facts.object_kind} inside a Jenkins, not its root: jobs would be searched and "
                f"created in the wrong place. Set base_url to {see or 'its root'}"
                + (" and job_folder to the folder." if facts.object_kind == "folder" else "."),
                "base_url",
            )
        case Place.NO_SUCH_PAGE:
            yield _wrong(
                Kind.NOT_ROOT,
                f"A Jenkins answers at {url}, but that is not its root: it has no such page, or hides it from the "
                f"account. Set base_url to {see or 'its root'}.",
                "base_url",
            )
        case Place.REFUSED:
            yield _refused(settings, facts)


def _root(settings: CheckedSettings, facts: ControllerFacts) -> Iterator[Finding]:
    if not facts.version:
        yield Finding(
            Kind.JENKINS,
            Severity.WARNING,
            f"A Jenkins answers at {_shown(settings.base_url)} without saying its version: something in front of it "
            "removes the header X-Jenkins, so its own answers look like those of Jenkins. Let the header pass.",
            "base_url",
        )
    else:
        older = _numbers(facts.version) < TRIED_VERSION
        tried = ".".join(map(str, TRIED_VERSION))
        yield Finding(
            Kind.JENKINS,
            Severity.INFO,
            f"Jenkins {facts.version} answers at {_shown(settings.base_url)}."
            + (f" It is older than {tried}, with which the service was tested." if older else ""),
        )
    if facts.own_url is not None and facts.own_url != settings.base_url:
        shown = _shown(facts.own_url) or "something that is no URL"
        yield Finding(
            Kind.JENKINS_URL,
            Severity.INFO,
            f"Jenkins calls itself {shown}, which is not base_url. That is fine behind a proxy; links to builds use "
            "that URL. To change it, set Jenkins' URL in Manage Jenkins, System.",
        )
    elif facts.own_url is None and facts.overall_read is Access.GRANTED:
        yield Finding(
            Kind.JENKINS_URL,
            Severity.INFO,
            "Jenkins has no URL configured: its notifications lack links to builds. Set it in Manage Jenkins, System.",
        )


def _https_perhaps(settings: CheckedSettings, facts: ControllerFacts) -> str:
    """Return a hint if a plain HTTP request may have reached a TLS port: servers answer that with 400."""
    plain_http = facts.status == 400 and settings.base_url.startswith("http:")
    return "Perhaps it expects https. " if plain_http else ""


def _refused(settings: CheckedSettings, facts: ControllerFacts) -> Finding:
    if settings.username:
        return _wrong(
            Kind.ACCOUNT,
            f"Jenkins doesn't accept the credentials of the account {settings.username!r} (HTTP {facts.status}): the "
            "API token is wrong or revoked, or there is no such account. Create an API token for it in Jenkins and "
            "give the provider that.",
            "api_token",
        )
    return _wrong(
        Kind.ACCOUNT,
        f"Jenkins asks for credentials (HTTP {facts.status}), and the provider has no account. Give it username and "
        "api_token.",
        "username",
    )


def _account(settings: CheckedSettings, facts: ControllerFacts) -> Iterator[Finding]:
    if facts.anonymous and settings.username and facts.security is not False:
        yield Finding(
            Kind.ACCOUNT,
            Severity.ERROR,
            f"The provider has the account {settings.username!r}, but Jenkins treats its requests as anonymous: "
            "something in front of it removes the Authorization header. Let the header pass.",
            "username",
        )
    elif facts.anonymous or not settings.username:
        yield Finding(
            Kind.ACCOUNT,
            Severity.INFO if facts.security is False else Severity.WARNING,
            "The provider has no account, so it has the permissions of anonymous users. Stopping a duplicate build "
            "needs a named account. Give it username and api_token.",
            "username",
        )
    elif facts.account:
        yield Finding(
            Kind.ACCOUNT, Severity.INFO, f"Jenkins accepts the account {facts.account!r}."
        )
    else:
        yield Finding(
            Kind.ACCOUNT,
            Severity.WARNING,
            f"Jenkins accepts the request but its answer (whoAmI) has no account. Check that "
            f"{settings.username!r} is the intended account.",
            "username",
        )


def _reading(facts: ControllerFacts) -> Iterator[Finding]:
    for problem, source in (
        (facts.queue_problem, "queue"),
        (facts.executors_problem, "executors"),
    ):
        if problem:
            yield Finding(
                Kind.READING,
                Severity.WARNING,
                f"Jenkins' {source} can't be read ({problem.rstrip('.')}). Builds are then read job by job, which "
                "takes more requests. Jenkins' log has the cause.",
            )


def _plugin(settings: CheckedSettings, facts: ControllerFacts) -> Iterator[Finding]:
    if not (_uses_webhooks(settings) and _creates(settings)):
        return
    plugin = facts.plugin
    if plugin.installed:
        shown = f" {plugin.version}" if plugin.version else ""
        yield Finding(
            Kind.PLUGIN, Severity.INFO, f"The Notification plugin{shown} is installed in Jenkins."
        )
    elif plugin.installed is None:
        yield Finding(
            Kind.PLUGIN,
            Severity.INFO,
            "This account can't see whether Jenkins has the Notification plugin. Without the plugin builds are read "
            "from Jenkins every few seconds. The first job that is created shows whether it is there.",
        )
    else:
        yield Finding(
            Kind.PLUGIN,
            Severity.WARNING,
            "Jenkins doesn't have the Notification plugin: jobs send no webhooks, and builds are read every few "
            "seconds instead. Install the plugin `notification`, or set reporting to REPORTING_POLLING.",
            "reporting",
        )


def _clock(facts: ControllerFacts) -> Iterator[Finding]:
    offset = facts.clock_offset_s
    if offset is None or abs(offset) <= CLOCK_TOLERANCE_S:
        return
    direction = "ahead of" if offset > 0 else "behind"
    yield Finding(
        Kind.CLOCK,
        Severity.WARNING,
        f"The clock of Jenkins is {_span(abs(offset))} {direction} ours. Times of builds are shown wrong, and from "
        "five minutes on webhooks that a build signs are rejected. Synchronise the clocks of both machines (NTP).",
    )


def _webhooks(settings: CheckedSettings, webhook_path: str) -> Iterator[Finding]:
    url = settings.webhook_base_url
    if settings.reporting == "POLLING":
        yield Finding(
            Kind.WEBHOOKS,
            Severity.INFO,
            "Builds are read from Jenkins every few seconds (polling).",
        )
        return
    if not url:
        wanted = settings.reporting == "WEBHOOK"
        yield Finding(
            Kind.WEBHOOKS,
            Severity.WARNING if wanted else Severity.INFO,
            "Jobs get no webhook, as webhook_base_url is empty: builds are read from Jenkins every few seconds. Set it "
            "to the URL by which Jenkins reaches the gateway"
            + (", or change reporting." if wanted else "."),
            "webhook_base_url",
        )
        return
    shown = _shown(f"{url.rstrip('/')}/{webhook_path}/…")
    if _is_loopback(url) and not _is_loopback(settings.base_url):
        yield Finding(
            Kind.WEBHOOKS,
            Severity.WARNING,
            f"Jobs post to {shown}, which on Jenkins' machine leads to that machine itself. Set webhook_base_url to "
            "the URL by which Jenkins reaches the gateway.",
            "webhook_base_url",
        )
    elif urlsplit(url).scheme == "http" and not _is_loopback(url):
        yield Finding(
            Kind.WEBHOOKS,
            Severity.WARNING,
            f"Jobs post to {shown} without encryption: anyone on the network path can read the token, "
            "and can report builds with it. Use https.",
            "webhook_base_url",
        )
    else:
        yield Finding(
            Kind.WEBHOOKS,
            Severity.INFO,
            f"Jobs post to {shown}. Only a webhook of a build proves that Jenkins reaches this URL.",
        )


def _folders(settings: CheckedSettings) -> Iterator[Finding]:
    if settings.allowed_folders and not settings.job_folder and _creates(settings):
        yield Finding(
            Kind.FOLDER,
            Severity.WARNING,
            "New jobs go into the root, as job_folder is empty, but allowed_folders doesn't allow the root: "
            "deployments whose job has no full_name are rejected. Set job_folder to one of the allowed folders.",
            "job_folder",
        )


def _creates(settings: CheckedSettings) -> bool:
    """Return whether the service may create jobs at this provider, not only adopt existing ones."""
    kinds = settings.allowed_job_kinds
    return not kinds or any(kind != "EXISTING" for kind in kinds)


def _uses_webhooks(settings: CheckedSettings) -> bool:
    return bool(settings.webhook_base_url) and settings.reporting != "POLLING"


def _shown(url: str) -> str:
    """Return a URL, cut so that it fits into an error message of 800 bytes."""
    return url if len(url) <= _MAX_URL_CHARS else url[:_MAX_URL_CHARS] + "…"


def _wrong(kind: Kind, message: str, field: str) -> Finding:
    return Finding(kind, Severity.ERROR, message, field, settings_wrong=True)


def _numbers(version: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _is_loopback(url: str) -> bool:
    host = (urlsplit(url).hostname or "").lower()
    return host == "localhost" or host.startswith("127.") or host == "::1"


def first_wrong(findings: Sequence[Finding]) -> Finding | None:
    """Return the first finding that proves the settings wrong; None if there is none."""
    return next((one for one in findings if one.settings_wrong), None)


_NO_LOGIN = "If a login page (single sign-on) is in front of it, let the service's requests to the API pass."
