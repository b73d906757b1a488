"""Secret texts in Jenkins' Credentials plugin, on which the Notification plugin depends. Pure.

They are system-wide, because jobs at the root have no narrower place: whoever may configure a job can use
them in it, if they know the id. That is much less than to print them in every console.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from urllib.parse import quote

from deployment_service.cicd.jenkins.http import HttpRequest

STORE = "credentials/store/system/domain/_"
"""The store of the secret texts."""
_SECRET_TEXT = "org.jenkinsci.plugins.plaincredentials.impl.StringCredentialsImpl"  # noqa: S105 - a class


def create(secret_id: str, text: str) -> HttpRequest:
    """200; 409 if there is one of that id."""
    return _post("createCredentials", _xml(secret_id, text))


def without_content() -> HttpRequest:
    """400, and nothing is created, if the account may create secret texts; 403 if not."""
    return HttpRequest("POST", f"{STORE}/createCredentials")


def update(secret_id: str, text: str) -> HttpRequest:
    """200; 404 if there is none."""
    return _post(f"credential/{quote(secret_id)}/config.xml", _xml(secret_id, text))


def show(secret_id: str) -> HttpRequest:
    """200 without the secret; 404 if there is none, or the account may not see the store."""
    return HttpRequest("GET", f"{STORE}/credential/{quote(secret_id)}/api/json", {"tree": "id"})


def show_store() -> HttpRequest:
    """200 if the account may see the store."""
    return HttpRequest("GET", f"{STORE}/api/json", {"tree": "_class"})


def delete(secret_id: str) -> HttpRequest:
    """302; 404 if there is none."""
    return HttpRequest("POST", f"{STORE}/credential/{quote(secret_id)}/doDelete")


def _post(action: str, body: bytes) -> HttpRequest:
    return HttpRequest("POST", f"{STORE}/{action}", {}, body, "application/xml; charset=utf-8")


def _xml(secret_id: str, text: str) -> bytes:
    root = ET.Element(_SECRET_TEXT)
    values = {
        "scope": "GLOBAL",
        "id": secret_id,
        "description": "A job's webhook URL. Managed by the deployment service.",
        "secret": text,
    }
    for name, value in values.items():
        ET.SubElement(root, name).text = value
    return ET.tostring(root, encoding="unicode").encode()
