"""Which bean shows which object."""

from __future__ import annotations

from jenkins_simulator.core.model import Build, Cause, Folder, Job, QueueItem
from jenkins_simulator.core.parameters import ParameterDefinition, ParameterValue
from jenkins_simulator.remote_api.builds import (
    BUILD_REFERENCE_BEAN,
    FREESTYLE_RUN_BEAN,
    PIPELINE_RUN_BEAN,
    BuildReference,
)
from jenkins_simulator.remote_api.exported import Bean
from jenkins_simulator.remote_api.items import FOLDER_BEAN, JOB_BEANS, VIEW_BEAN, AllView
from jenkins_simulator.remote_api.queue import QUEUE_ITEM_BEANS
from jenkins_simulator.remote_api.shared import (
    CAUSES_BEAN,
    DEFINITION_BEANS,
    PARAMETERS_BEAN,
    PROPERTY_BEAN,
    REMOTE_CAUSE_BEAN,
    TIMER_CAUSE_BEAN,
    UPSTREAM_CAUSE_BEAN,
    USER_CAUSE_BEAN,
    VALUE_BEANS,
    Causes,
    Parameters,
    ParametersProperty,
    Shown,
    shown_bean,
)

_FIXED: dict[type, Bean] = {
    Parameters: PARAMETERS_BEAN,
    Causes: CAUSES_BEAN,
    ParametersProperty: PROPERTY_BEAN,
    BuildReference: BUILD_REFERENCE_BEAN,
    Folder: FOLDER_BEAN,
    AllView: VIEW_BEAN,
}


def find_bean(value: object) -> Bean | None:
    """The bean that exports this object, or None if it is a plain value."""
    if isinstance(value, Shown):
        return shown_bean(value)
    if isinstance(value, Build):
        return PIPELINE_RUN_BEAN if value.job.is_pipeline else FREESTYLE_RUN_BEAN
    if isinstance(value, Job):
        return JOB_BEANS[value.config.kind]
    if isinstance(value, QueueItem):
        return QUEUE_ITEM_BEANS[value.state]
    if isinstance(value, ParameterValue):
        return VALUE_BEANS[value.kind]
    if isinstance(value, ParameterDefinition):
        return DEFINITION_BEANS[value.kind]
    if isinstance(value, Cause):
        return _cause_bean(value)
    return _FIXED.get(type(value))


def _cause_bean(cause: Cause) -> Bean:
    if cause.by_timer:
        return TIMER_CAUSE_BEAN
    if cause.upstream is not None:
        return UPSTREAM_CAUSE_BEAN
    return USER_CAUSE_BEAN if cause.remote_address is None else REMOTE_CAUSE_BEAN
