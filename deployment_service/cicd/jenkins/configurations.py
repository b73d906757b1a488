"""What is written into Jenkins, and read of it, beside builds: jobs, their configuration, secret texts.

The part of ``JenkinsProvider`` that needs rights beyond building; see ``CicdProvider`` for each method.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from deployment_service.cicd.errors import (
    DefinitionInvalid,
    FolderMissing,
    JobExists,
    ProviderRefused,
)
from deployment_service.cicd.jenkins import job_xml, replies, secrets
from deployment_service.cicd.jenkins.authors import Author, author_of
from deployment_service.cicd.jenkins.http import HttpReply, HttpRequest
from deployment_service.cicd.names import job_path, parent_and_name
from deployment_service.cicd.port import OwnState, WebhookEndpoint
from deployment_service.domain.parameter_definitions import DeclaredParameter

# What we write ourselves is bounded by a million characters.
_MAX_CONFIG_BYTES = 4 * 2**20
_XML = "application/xml; charset=utf-8"


class JobConfigurations:
    """Uses the exchanges of the class that inherits it."""

    _account: str

    async def _ask(self, request: HttpRequest, timeout_s: float | None = None) -> HttpReply:
        raise NotImplementedError

    async def _exists(self, path: str) -> bool:
        raise NotImplementedError

    def _says_missing(self, reply: HttpReply) -> bool:
        raise NotImplementedError

    async def create_job(self, full_name: str, config_xml: str) -> None:
        """See `CicdProvider`."""
        path = job_path(full_name)
        folder, name = parent_and_name(full_name)
        create = f"{job_path(folder)}/createItem" if folder else "createItem"
        body = config_xml.encode("utf-8")
        reply = await self._ask(HttpRequest("POST", create, {"name": name}, body, _XML))
        if reply.status == 200:
            return
        if self._says_missing(reply) and folder:
            raise FolderMissing(
                f"Jenkins has no folder {folder!r}, or the account {self._account!r} can't see it. "
                "Create it, or grant Job/Read on it.",
                http_status=404,
            )
        if reply.status in (413, 414, 431):
            raise replies.too_large(reply, full_name)
        if reply.status not in (400, 500):
            raise replies.error_of(reply, self._account)
        # Jenkins sends each status for several failures. This read also proves that Jenkins works: 500 is its answer
        # to bad XML, but also while it is overloaded or starting.
        exists = await self._exists(path)
        if exists or "already exists" in replies.quoted_error(reply):
            raise JobExists(f"Jenkins has a job {full_name!r} already.", http_status=reply.status)
        raise replies.creation_error(reply, full_name)

    async def declare_parameters(
        self,
        full_name: str,
        owner: str,
        parameters: Sequence[DeclaredParameter],
        *,
        replace: bool,
    ) -> None:
        """See `CicdProvider`."""
        config = await self._config(full_name)
        changed = job_xml.with_parameters(config, owner, parameters, replace=replace)
        await self._change_config(full_name, changed)

    async def trimmed_parameters(self, full_name: str) -> Collection[str] | None:
        """See `CicdProvider`."""
        try:
            return job_xml.trimmed_names(await self._config(full_name))
        except (ProviderRefused, DefinitionInvalid):
            return None

    async def set_webhook(self, full_name: str, endpoint: WebhookEndpoint) -> bool:
        """See `CicdProvider`."""
        changed = job_xml.with_webhook(await self._config(full_name), endpoint)
        if changed is None:
            return False
        await self._change_config(full_name, changed)
        return True

    async def _config(self, full_name: str) -> str:
        path = f"{job_path(full_name)}/config.xml"
        reply = await self._ask(HttpRequest("GET", path, max_answer_bytes=_MAX_CONFIG_BYTES))
        if reply.status != 200:
            raise replies.error_of(reply, self._account)
        return reply.body.decode("utf-8", "replace")

    async def _change_config(self, full_name: str, config_xml: str) -> None:
        path, body = f"{job_path(full_name)}/config.xml", config_xml.encode("utf-8")
        reply = await self._ask(HttpRequest("POST", path, {}, body, _XML))
        if reply.status != 200:
            raise replies.error_of(reply, self._account)

    async def has_webhook(self, full_name: str, job_id: str) -> bool | None:
        """See `CicdProvider`."""
        try:
            return job_xml.has_webhook(await self._config(full_name), job_id)
        except (ProviderRefused, DefinitionInvalid):
            return None

    async def lost_state(self, full_name: str, wanted: OwnState) -> Collection[str] | None:
        """See `CicdProvider`."""
        try:
            return job_xml.restored(await self._config(full_name), wanted)[1]
        except (ProviderRefused, DefinitionInvalid):
            return None

    async def restore_state(self, full_name: str, wanted: OwnState) -> None:
        """See `CicdProvider`."""
        changed, lost = job_xml.restored(await self._config(full_name), wanted)
        if lost:
            await self._change_config(full_name, changed)

    async def has_secret(self, secret_id: str) -> bool | None:
        """See `CicdProvider`. Without Credentials/View the whole store is missing, and proves nothing."""
        reply = await self._ask(secrets.show(secret_id))
        if reply.status == 200:
            return True
        if not self._says_missing(reply):
            return None
        store = await self._ask(secrets.show_store())
        return False if store.status == 200 else None

    async def put_secret(self, secret_id: str, text: str) -> bool:
        """See `CicdProvider`. 500 is Jenkins' answer if it has no type of secret texts."""
        reply = await self._ask(secrets.create(secret_id, text))
        if reply.status == 409:
            reply = await self._ask(secrets.update(secret_id, text))
        by_jenkins = author_of(reply) not in (Author.FRONT, Author.STARTING)
        if (reply.status in (403, 500) and by_jenkins) or self._says_missing(reply):
            return False
        if reply.status != 200:
            raise replies.error_of(reply, self._account)
        return True

    async def delete_secret(self, secret_id: str) -> None:
        """See `CicdProvider`."""
        await self._ask(secrets.delete(secret_id))
