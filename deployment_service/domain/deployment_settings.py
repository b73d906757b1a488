"""The settings of a deployment, which callers choose and may change later. Pure.

This is their only definition. The table ``deployments`` and ``pb.Deployment`` have a column or field for each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

from deployment_service.domain.definition import check_display_name, check_labels
from deployment_service.domain.parameter_definitions import (
    DeclaredParameter,
    check_definitions,
    definitions_from_json,
    definitions_to_json,
)
from deployment_service.domain.status import UnstablePolicy


class Row(Protocol):
    """A row of a table, by column."""

    def __getitem__(self, key: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class DeploymentSettings:
    """The settings. ``declares`` in the methods: the service creates the job, so it defines the parameters there."""

    display_name: str = ""
    parameter_definitions: tuple[DeclaredParameter, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    unstable_policy: UnstablePolicy = UnstablePolicy.FAILED

    def checked(self, *, declares: bool) -> DeploymentSettings:
        """Return the settings in normal form. Raises InvalidArgument."""
        return self.changed(self, SETTINGS, declares=declares)

    def changed(
        self, given: DeploymentSettings, paths: Collection[str], *, declares: bool
    ) -> DeploymentSettings:
        """Return these settings with the fields in ``paths`` as ``given``. Raises InvalidArgument for one of them."""
        return replace(
            self, **{path: given._normal_form(path, declares=declares) for path in sorted(paths)}
        )

    def _normal_form(self, name: str, *, declares: bool) -> Any:
        value, where = getattr(self, name), f"deployment.{name}"
        match name:
            case "display_name":
                return check_display_name(value, field=where)
            case "labels":
                return check_labels(value, field=where)
            case "parameter_definitions":
                return check_definitions(value, field=where, declares=declares)
        return value

    def to_row(self) -> dict[str, Any]:
        """Return the values of the columns, in the order of ``SETTINGS``."""
        row = {name: getattr(self, name) for name in SETTINGS}
        row["parameter_definitions"] = definitions_to_json(self.parameter_definitions)
        row["labels"] = dict(self.labels)
        return row

    @classmethod
    def from_row(cls, row: Row) -> DeploymentSettings:
        """Return the settings in a row that has a value for each of ``SETTINGS``."""
        values = {name: row[name] for name in SETTINGS}
        values["parameter_definitions"] = definitions_from_json(values["parameter_definitions"])
        values["unstable_policy"] = UnstablePolicy(values["unstable_policy"])
        return cls(**values)


SETTINGS = tuple(one.name for one in fields(DeploymentSettings))
"""The names of the fields, in order."""
