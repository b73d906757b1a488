"""Findings about the permissions in Jenkins that a provider needs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deployment_service.domain.findings import Finding, Kind, Severity
from deployment_service.domain.provider_facts import Access, ControllerFacts, FolderFacts


def judge(
    facts: ControllerFacts,
    *,
    account: str,
    folders: Sequence[str],
    creates: bool,
    secrets: bool,
) -> Iterator[Finding]:
    """Yield findings about permissions that the account lacks, may lack, or has.

    ``creates``: the service may create jobs.
    ``secrets``: the webhook URLs of its jobs are stored as secret texts.
    """
    if facts.security is False:
        yield Finding(
            Kind.PERMISSION,
            Severity.WARNING,
            "Jenkins checks no permissions: every client that reaches it may do anything. Turn its security on.",
        )
        return
    if facts.overall_read is Access.MISSING:
        yield _missing(account, "Overall/Read", "", "nothing can be read from Jenkins")
        return
    granted: list[str] = []
    for index, folder in enumerate(facts.folders):
        first = index == 0 and bool(folders) and folder.full_name == folders[0]
        yield from _folder(account, folder, facts, creates=creates, first=first, granted=granted)
    if granted:
        names = ", ".join(dict.fromkeys(granted))
        yield Finding(Kind.PERMISSION, Severity.INFO, f"The account {account!r} has {names}.")
    if secrets:
        yield from _secrets(account, facts)
    untested = ["Job/Cancel", *(["Job/Delete"] if creates else [])]
    yield Finding(
        Kind.PERMISSION,
        Severity.INFO,
        f"Not tested, because a test would change something: {', '.join(untested)}. Make sure that the account "
        f"{account!r} has {'them' if len(untested) > 1 else 'it'}.",
    )


def _folder(
    account: str,
    folder: FolderFacts,
    facts: ControllerFacts,
    *,
    creates: bool,
    first: bool,
    granted: list[str],
) -> Iterator[Finding]:
    where = _where(folder.full_name)
    field = "job_folder" if first else "allowed_folders"
    if not folder.is_folder:
        yield Finding(
            Kind.FOLDER,
            Severity.ERROR,
            f"{folder.full_name!r} is a job in Jenkins, not a folder: no job can be in it. Set {field} to a folder.",
            field,
            settings_wrong=True,
        )
        return
    if folder.shown is Access.MISSING:
        yield Finding(
            Kind.FOLDER,
            Severity.ERROR if first else Severity.WARNING,
            f"Jenkins has no folder {folder.full_name!r}, or the account {account!r} can't see it: no job can be "
            f"created or run in it. Create the folder, grant Job/Read on it, or correct {field}.",
            field,
        )
        return
    if folder.shown is Access.UNKNOWN:
        if folder.problem:
            yield Finding(
                Kind.FOLDER,
                Severity.WARNING,
                f"The permissions of the account {where} could not be determined: {folder.problem.rstrip('.')}. Check "
                "the provider again.",
                field,
            )
        return
    if folder.sample_job:
        granted.append("Job/Read")
    yield from _create(account, folder, creates=creates, first=first, granted=granted)
    yield from _at_a_job(account, folder, facts, creates=creates, granted=granted)


def _create(
    account: str, folder: FolderFacts, *, creates: bool, first: bool, granted: list[str]
) -> Iterator[Finding]:
    if not creates:
        return
    where = _where(folder.full_name)
    if folder.create is Access.MISSING:
        instead = "allow only existing jobs (allowed_job_kinds)"
        yield _missing(
            account,
            "Job/Create",
            where,
            "jobs of deployments can't be created",
            severity=Severity.ERROR if first else Severity.WARNING,
            instead=instead,
        )
    elif folder.create is Access.UNKNOWN:
        yield _unknown(account, "Job/Create", where)
    else:
        granted.append("Job/Create")


def _at_a_job(
    account: str,
    folder: FolderFacts,
    facts: ControllerFacts,
    *,
    creates: bool,
    granted: list[str],
) -> Iterator[Finding]:
    where = _where(folder.full_name)
    if not folder.sample_job:
        needed = "Job/Read and Job/Build" + (", Job/Configure" if creates else "")
        # An account that may read the list of plugins may also read jobs, so the folder has none.
        sees_all = facts.plugin.version or facts.plugin.installed is False
        yield Finding(
            Kind.PERMISSION,
            Severity.INFO if sees_all else Severity.WARNING,
            f"Jenkins shows the account {account!r} no job {where}, so {needed} could not be tested. If there is one, "
            "the account lacks Job/Read: grant it in Jenkins.",
        )
        return
    on_job = f"on the job {folder.sample_job!r}"
    effects = [("Job/Build", folder.build, "no build of it can be started", Severity.ERROR)]
    if creates:
        effect = "parameters and webhooks of jobs can't be kept up to date"
        effects.append(("Job/Configure", folder.configure, effect, Severity.WARNING))
    for permission, access, effect, severity in effects:
        if access is Access.MISSING:
            yield _missing(account, permission, on_job, effect, severity=severity)
        elif access is Access.UNKNOWN:
            yield _unknown(account, permission, on_job)
        else:
            granted.append(permission)


def _secrets(account: str, facts: ControllerFacts) -> Iterator[Finding]:
    instead = (
        "The token of a job's webhook is then written into the job and printed in the console of every build, so that "
        "its reports must be confirmed by reading Jenkins"
    )
    if facts.secrets_view is Access.GRANTED and facts.secrets_create is Access.GRANTED:
        yield Finding(
            Kind.SECRETS,
            Severity.INFO,
            "Webhook URLs can be kept as secret texts in Jenkins (Credentials/Create).",
        )
    elif Access.MISSING in (facts.secrets_view, facts.secrets_create):
        lacks = "Credentials/View" if facts.secrets_view is Access.MISSING else "Credentials/Create"
        yield Finding(
            Kind.SECRETS,
            Severity.WARNING,
            f"The account {account!r} lacks the permission {lacks}, or there is no Credentials plugin. {instead}. "
            "Give it Credentials/View, Create, Update and Delete, or turn private_console on if that is no risk.",
            "private_console",
        )
    else:
        yield Finding(
            Kind.SECRETS,
            Severity.INFO,
            "Whether webhook URLs can be kept as secret texts in Jenkins could not be determined. Make sure that the "
            f"account {account!r} has Credentials/View, Create, Update and Delete.",
        )


def _where(folder: str) -> str:
    return f"in the folder {folder!r}" if folder else "in the root"


def _missing(
    account: str,
    permission: str,
    where: str,
    effect: str,
    *,
    severity: Severity = Severity.ERROR,
    instead: str = "",
) -> Finding:
    place = f" {where}" if where else ""
    other = f", or {instead}" if instead else ""
    return Finding(
        Kind.PERMISSION,
        severity,
        f"The account {account!r} lacks the permission {permission}{place}: {effect}. Grant it in Jenkins{other}.",
        "username",
    )


def _unknown(account: str, permission: str, where: str) -> Finding:
    return Finding(
        Kind.PERMISSION,
        Severity.INFO,
        f"Whether the account {account!r} has {permission} {where} could not be determined. Make sure that it has.",
    )
