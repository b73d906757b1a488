"""The Credentials plugin's store of system-wide credentials, as far as scripts use it: secret texts.

Behaves as the plugin's sources say: `createCredentials` answers 200, or 409 if the id is taken;
`credential/ID/config.xml` takes a new one by POST; `doDelete` redirects. Without the plugin all of it is 404.
"""

from __future__ import annotations

from xml.etree import ElementTree

from . import answers
from .answers import Answer
from .call import Call
from .permissions import Permission

_STORE = ["store", "system", "domain", "_"]
_SECRET_TEXT = "org.jenkinsci.plugins.plaincredentials.impl.StringCredentialsImpl"


def dispatch(call: Call, rest: list[str]) -> Answer:
    """Answer a request below `credentials/`."""
    if not call.controller.config.credentials_plugin or rest[:4] != _STORE:
        raise answers.not_found()
    action = rest[4:]
    if action == ["createCredentials"]:
        return _create(call)
    if len(action) == 3 and action[0] == "credential":
        if action[1] not in call.controller.credentials:
            raise answers.not_found()
        if action[2] == "config.xml":
            return _update(call, action[1])
        if action[2] == "doDelete":
            return _delete(call, action[1])
    raise answers.not_found()


def _create(call: Call) -> Answer:
    if call.method != "POST":
        raise answers.post_required()
    call.require(Permission.CREDENTIALS_CREATE)
    content_type = call.request.headers.get("Content-Type")
    if content_type is None:
        raise answers.failure("No Content-Type header set")
    credential_id, secret = _read(call)
    if credential_id in call.controller.credentials:
        return answers.nothing(409)
    call.controller.credentials[credential_id] = secret
    return answers.nothing(200)


def _update(call: Call, credential_id: str) -> Answer:
    if call.method != "POST":
        raise answers.post_required()
    call.require(Permission.CREDENTIALS_UPDATE)
    _, call.controller.credentials[credential_id] = _read(call)
    return answers.nothing(200)


def _delete(call: Call, credential_id: str) -> Answer:
    if call.method != "POST":
        raise answers.post_required()
    call.require(Permission.CREDENTIALS_DELETE)
    del call.controller.credentials[credential_id]
    return answers.nothing(302, f"{call.base}/credentials/store/system/domain/_")


def _read(call: Call) -> tuple[str, str]:
    """The id and the text of a secret-text credential; a class that nobody knows is an error."""
    try:
        root = ElementTree.fromstring(call.body)
    except ElementTree.ParseError as error:
        raise answers.oops(str(error), from_api=False) from error
    if root.tag != _SECRET_TEXT:
        raise answers.oops(f"CannotResolveClassException: {root.tag}", from_api=False)
    return root.findtext("id") or "", root.findtext("secret") or ""
