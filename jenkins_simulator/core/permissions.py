"""Jenkins' permissions, with the chain that its 403 answers list in `X-Permission-Implied-By`."""

from __future__ import annotations

from enum import Enum

_GENERIC = "hudson.security.Permission.Generic"
_ADMINISTER = "hudson.model.Hudson.Administer"
_CREDENTIALS = "com.cloudbees.plugins.credentials.CredentialsProvider."


def _implied(*kinds: str) -> tuple[str, ...]:
    return (*(_GENERIC + kind for kind in kinds), _ADMINISTER)


class Permission(Enum):
    """A permission: the id that Jenkins uses, and the ids of what implies it, nearest first."""

    ADMINISTER = (_ADMINISTER, ())
    OVERALL_READ = ("hudson.model.Hudson.Read", _implied("Read"))
    MANAGE = ("jenkins.model.Jenkins.Manage", (_ADMINISTER,))
    COMPUTER_CONNECT = (
        "hudson.model.Computer.Connect",
        ("hudson.model.Computer.Disconnect", _ADMINISTER),
    )
    ITEM_CREATE = ("hudson.model.Item.Create", _implied("Create", "Write"))
    ITEM_DELETE = ("hudson.model.Item.Delete", _implied("Delete", "Write"))
    ITEM_CONFIGURE = ("hudson.model.Item.Configure", _implied("Configure", "Update", "Write"))
    ITEM_READ = ("hudson.model.Item.Read", _implied("Read"))
    ITEM_DISCOVER = ("hudson.model.Item.Discover", ("hudson.model.Item.Read", *_implied("Read")))
    ITEM_EXTENDED_READ = (
        "hudson.model.Item.ExtendedRead",
        ("hudson.model.Item.Configure", *_implied("Configure", "Update", "Write")),
    )
    ITEM_BUILD = ("hudson.model.Item.Build", _implied("Update", "Write"))
    ITEM_CANCEL = ("hudson.model.Item.Cancel", _implied("Update", "Write"))
    RUN_DELETE = ("hudson.model.Run.Delete", _implied("Delete", "Write"))
    RUN_UPDATE = ("hudson.model.Run.Update", _implied("Update", "Write"))
    CREDENTIALS_VIEW = (_CREDENTIALS + "View", _implied("Read"))
    CREDENTIALS_CREATE = (_CREDENTIALS + "Create", _implied("Create", "Write"))
    CREDENTIALS_UPDATE = (_CREDENTIALS + "Update", _implied("Update", "Write"))
    CREDENTIALS_DELETE = (_CREDENTIALS + "Delete", _implied("Delete", "Write"))

    def __init__(self, permission_id: str, implied_by: tuple[str, ...]) -> None:
        self.id = permission_id
        self.implied_by = implied_by

    @classmethod
    def parse(cls, text: str) -> Permission:
        """The permission with this enum name or Jenkins id."""
        for permission in cls:
            if text in (permission.name, permission.id):
                return permission
        raise ValueError(f"unknown permission {text!r}; known: {[p.name for p in cls]}")


ALL_PERMISSIONS = frozenset(Permission)
READ_ONLY = frozenset({Permission.OVERALL_READ, Permission.ITEM_READ})


def is_granted(wanted: Permission, granted: frozenset[Permission]) -> bool:
    """Whether `granted` contains `wanted` or something that implies it."""
    ids = {permission.id for permission in granted}
    return wanted.id in ids or any(implier in ids for implier in wanted.implied_by)
