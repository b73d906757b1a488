"""The Credentials plugin's stores, as far as scripts use them: secret texts of Jenkins and of folders.

Without the plugin, or without the permission to view credentials, all of it is 404.
"""

from __future__ import annotations

import json
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from jenkins_simulator.core.model import Folder, SecretTexts
from jenkins_simulator.core.permissions import Permission
from jenkins_simulator.http import answers
from jenkins_simulator.http import api as web_api
from jenkins_simulator.http.answers import Answer
from jenkins_simulator.http.call import Call
from jenkins_simulator.remote_api.shared import Shown

_SECRET_TEXT = "org.jenkinsci.plugins.plaincredentials.impl.StringCredentialsImpl"
_STORE_ACTION = "com.cloudbees.plugins.credentials.CredentialsStoreAction$"
_VIEW_ACTION = "com.cloudbees.plugins.credentials.ViewCredentialsAction"


def dispatch(call: Call, folder: Folder, rest: list[str]) -> Answer:
    """Answer a request below `credentials/` of Jenkins or of a folder."""
    if not call.controller.config.credentials_plugin:
        raise answers.not_found()
    is_root = folder.parent is None
    if rest[:1] == ["api"]:
        java_class = _VIEW_ACTION + ("$RootActionImpl" if is_root else "")
        return web_api.serve(call, rest[1:], Shown(java_class, {"stores": {}}), "credentials")
    store = ["store", "system" if is_root else "folder", "domain", "_"]
    if rest[:4] != store or not call.caller.may(Permission.CREDENTIALS_VIEW):
        raise answers.not_found()
    secrets = call.controller.credentials if is_root else folder.credentials
    action = rest[4:]
    if action[:1] == ["api"]:
        return web_api.serve(call, action[1:], _domain(secrets, store[1]), "domainWrapper")
    if action == ["createCredentials"]:
        return _create(call, secrets)
    if len(action) >= 3 and action[0] == "credential" and action[1] in secrets:
        return _credential(call, secrets, action[1], action[2:], store[1])
    raise answers.not_found()


def _credential(
    call: Call, secrets: SecretTexts, credential_id: str, action: list[str], store: str
) -> Answer:
    if action[0] == "api":
        shown = _wrapper(secrets, credential_id, store)
        return web_api.serve(call, action[1:], shown, "credentialsWrapper")
    if action == ["config.xml"]:
        return _config(call, secrets, credential_id)
    if action == ["doDelete"]:
        if call.method != "POST":
            raise answers.post_required()
        _delete(call, secrets, credential_id)
        above = call.directory.rstrip("/").rpartition("/credential/")[0]
        return answers.nothing(302, above + "/")
    raise answers.not_found()


def _domain(secrets: SecretTexts, store: str) -> Shown:
    listed = [_wrapper(secrets, credential_id, store) for credential_id in secrets]
    values = {
        "credentials": listed,
        "description": None,
        "displayName": "Global credentials (unrestricted)",
        "fullDisplayName": f"{store.capitalize()} » Global credentials (unrestricted)",
        "fullName": f"{store}/_",
        "global": True,
        "urlName": "_",
    }
    wrapper = (("credentials", _STORE_ACTION + "CredentialsWrapper"),)
    return Shown(_STORE_ACTION + "DomainWrapper", values, expected=wrapper)


def _wrapper(secrets: SecretTexts, credential_id: str, store: str) -> Shown:
    description = secrets.descriptions.get(credential_id, "")
    values = {
        "description": description,
        "displayName": description or credential_id,
        "fingerprint": None,
        "fullName": f"{store}/_/{credential_id}",
        "id": credential_id,
        "typeName": "Secret text",
    }
    return Shown(_STORE_ACTION + "CredentialsWrapper", values)


def _create(call: Call, secrets: SecretTexts) -> Answer:
    if call.method != "POST":
        raise answers.post_required()
    call.require(Permission.CREDENTIALS_CREATE)
    content_type = call.request.headers.get("Content-Type")
    if content_type is None:
        raise answers.failure("No Content-Type header set")
    if not content_type.startswith(("application/xml", "text/xml")):
        return _create_by_form(call, secrets)
    credential_id, secret, description = _read(call)
    if credential_id in secrets:
        return answers.nothing(409)
    secrets[credential_id] = secret
    secrets.descriptions[credential_id] = description
    return answers.nothing(200)


def _create_by_form(call: Call, secrets: SecretTexts) -> Answer:
    """The form of the browser, which carries everything in its `json` field."""
    try:
        given = json.loads(call.parameter("json") or "")["credentials"]
        credential_id, secret = str(given["id"]), str(given["secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise answers.oops(str(error)) from error
    secrets.setdefault(credential_id, secret)
    secrets.descriptions.setdefault(credential_id, str(given.get("description", "")))
    return answers.nothing(302, call.directory)


def _config(call: Call, secrets: SecretTexts, credential_id: str) -> Answer:
    if call.method == "DELETE":
        _delete(call, secrets, credential_id)
        return answers.nothing(200)
    if call.method != "POST":
        xml = _redacted(credential_id, secrets.descriptions.get(credential_id, ""))
        return Answer(200, xml.encode(), [("Content-Type", "application/xml")], sized=False)
    call.require(Permission.CREDENTIALS_UPDATE)
    _, secrets[credential_id], secrets.descriptions[credential_id] = _read(call)
    return answers.nothing(200)


def _redacted(credential_id: str, description: str) -> str:
    return (
        f'<{_SECRET_TEXT} plugin="plain-credentials@143.v1b_df8b_d3b_e48">\n'
        f"  <scope>GLOBAL</scope>\n  <id>{escape(credential_id)}</id>\n"
        f"  <description>{escape(description)}</description>\n"
        f"  <secret>\n    <secret-redacted/>\n  </secret>\n</{_SECRET_TEXT}>"
    )


def _delete(call: Call, secrets: SecretTexts, credential_id: str) -> None:
    call.require(Permission.CREDENTIALS_DELETE)
    del secrets[credential_id]
    secrets.descriptions.pop(credential_id, None)


def _read(call: Call) -> tuple[str, str, str]:
    """Id, text and description of a secret text; an unknown class is an error.

    A redacted secret, posted back as it was read, is an empty one.
    """
    try:
        root = ElementTree.fromstring(call.body)
    except ElementTree.ParseError as error:
        raise answers.oops(str(error), from_api=False) from error
    if root.tag != _SECRET_TEXT:
        raise answers.oops(f"CannotResolveClassException: {root.tag}", from_api=False)
    secret = root.find("secret")
    is_redacted = secret is not None and secret.find("secret-redacted") is not None
    text = "" if is_redacted or secret is None else secret.text or ""
    return root.findtext("id") or "", text, root.findtext("description") or ""
