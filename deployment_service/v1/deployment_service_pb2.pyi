from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class View(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VIEW_UNSPECIFIED: _ClassVar[View]
    VIEW_BASIC: _ClassVar[View]
    VIEW_FULL: _ClassVar[View]

class DeploymentStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEPLOYMENT_STATUS_UNSPECIFIED: _ClassVar[DeploymentStatus]
    DEPLOYMENT_STATUS_PENDING: _ClassVar[DeploymentStatus]
    DEPLOYMENT_STATUS_RUNNING: _ClassVar[DeploymentStatus]
    DEPLOYMENT_STATUS_COMPLETED: _ClassVar[DeploymentStatus]
    DEPLOYMENT_STATUS_FAILED: _ClassVar[DeploymentStatus]
    DEPLOYMENT_STATUS_CANCELLED: _ClassVar[DeploymentStatus]

class UnstablePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNSTABLE_POLICY_UNSPECIFIED: _ClassVar[UnstablePolicy]
    UNSTABLE_POLICY_FAILED: _ClassVar[UnstablePolicy]
    UNSTABLE_POLICY_COMPLETED: _ClassVar[UnstablePolicy]

class CicdJobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CICD_JOB_STATE_UNSPECIFIED: _ClassVar[CicdJobState]
    CICD_JOB_STATE_CREATING: _ClassVar[CicdJobState]
    CICD_JOB_STATE_READY: _ClassVar[CicdJobState]
    CICD_JOB_STATE_FAILED: _ClassVar[CicdJobState]

class Correlation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CORRELATION_UNSPECIFIED: _ClassVar[Correlation]
    CORRELATION_RUN_ID: _ClassVar[Correlation]
    CORRELATION_QUEUE_ITEM: _ClassVar[Correlation]

class RunSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_SOURCE_UNSPECIFIED: _ClassVar[RunSource]
    RUN_SOURCE_SERVICE: _ClassVar[RunSource]
    RUN_SOURCE_EXTERNAL: _ClassVar[RunSource]

class WaitingFor(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WAITING_FOR_UNSPECIFIED: _ClassVar[WaitingFor]
    WAITING_FOR_TRIGGER: _ClassVar[WaitingFor]
    WAITING_FOR_QUEUE: _ClassVar[WaitingFor]
    WAITING_FOR_INPUT: _ClassVar[WaitingFor]

class FailureCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAILURE_CAUSE_UNSPECIFIED: _ClassVar[FailureCause]
    FAILURE_CAUSE_TRIGGER_REJECTED: _ClassVar[FailureCause]
    FAILURE_CAUSE_TRIGGER_DEADLINE: _ClassVar[FailureCause]
    FAILURE_CAUSE_TRIGGER_OUTCOME_UNKNOWN: _ClassVar[FailureCause]
    FAILURE_CAUSE_BUILD_FAILED: _ClassVar[FailureCause]
    FAILURE_CAUSE_BUILD_UNSTABLE: _ClassVar[FailureCause]
    FAILURE_CAUSE_BUILD_LOST: _ClassVar[FailureCause]
    FAILURE_CAUSE_CANCELLED_IN_JENKINS: _ClassVar[FailureCause]
    FAILURE_CAUSE_NOT_BUILT: _ClassVar[FailureCause]
    FAILURE_CAUSE_JOB_PARAMETERS_MISMATCH: _ClassVar[FailureCause]
    FAILURE_CAUSE_JOB_MISSING: _ClassVar[FailureCause]
    FAILURE_CAUSE_CANCELLED: _ClassVar[FailureCause]
    FAILURE_CAUSE_DEPLOYMENT_DELETED: _ClassVar[FailureCause]
    FAILURE_CAUSE_RESOLVED_BY_OPERATOR: _ClassVar[FailureCause]

class Certainty(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CERTAINTY_UNSPECIFIED: _ClassVar[Certainty]
    CERTAINTY_REPORTED: _ClassVar[Certainty]
    CERTAINTY_CONFIRMED: _ClassVar[Certainty]
    CERTAINTY_UNVERIFIABLE: _ClassVar[Certainty]

class EventSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_SOURCE_UNSPECIFIED: _ClassVar[EventSource]
    EVENT_SOURCE_API: _ClassVar[EventSource]
    EVENT_SOURCE_DISPATCHER: _ClassVar[EventSource]
    EVENT_SOURCE_WEBHOOK: _ClassVar[EventSource]
    EVENT_SOURCE_READ: _ClassVar[EventSource]

class ObservationProblemReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OBSERVATION_PROBLEM_REASON_UNSPECIFIED: _ClassVar[ObservationProblemReason]
    OBSERVATION_PROBLEM_REASON_UNREACHABLE: _ClassVar[ObservationProblemReason]
    OBSERVATION_PROBLEM_REASON_SLOW: _ClassVar[ObservationProblemReason]
    OBSERVATION_PROBLEM_REASON_STARTING: _ClassVar[ObservationProblemReason]
    OBSERVATION_PROBLEM_REASON_OVERLOADED: _ClassVar[ObservationProblemReason]
    OBSERVATION_PROBLEM_REASON_SERVER_ERROR: _ClassVar[ObservationProblemReason]
    OBSERVATION_PROBLEM_REASON_NOT_JENKINS: _ClassVar[ObservationProblemReason]
    OBSERVATION_PROBLEM_REASON_REFUSED: _ClassVar[ObservationProblemReason]
    OBSERVATION_PROBLEM_REASON_PERMISSION_MISSING: _ClassVar[ObservationProblemReason]
    OBSERVATION_PROBLEM_REASON_MALFORMED_ANSWER: _ClassVar[ObservationProblemReason]
    OBSERVATION_PROBLEM_REASON_JOB_NOT_SHOWN: _ClassVar[ObservationProblemReason]

class ParameterKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PARAMETER_KIND_UNSPECIFIED: _ClassVar[ParameterKind]
    PARAMETER_KIND_STRING: _ClassVar[ParameterKind]
    PARAMETER_KIND_TEXT: _ClassVar[ParameterKind]
    PARAMETER_KIND_BOOLEAN: _ClassVar[ParameterKind]
    PARAMETER_KIND_CHOICE: _ClassVar[ParameterKind]
    PARAMETER_KIND_SECRET: _ClassVar[ParameterKind]

class WatchUntil(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WATCH_UNTIL_UNSPECIFIED: _ClassVar[WatchUntil]
    WATCH_UNTIL_REPORTED: _ClassVar[WatchUntil]
    WATCH_UNTIL_SETTLED: _ClassVar[WatchUntil]
VIEW_UNSPECIFIED: View
VIEW_BASIC: View
VIEW_FULL: View
DEPLOYMENT_STATUS_UNSPECIFIED: DeploymentStatus
DEPLOYMENT_STATUS_PENDING: DeploymentStatus
DEPLOYMENT_STATUS_RUNNING: DeploymentStatus
DEPLOYMENT_STATUS_COMPLETED: DeploymentStatus
DEPLOYMENT_STATUS_FAILED: DeploymentStatus
DEPLOYMENT_STATUS_CANCELLED: DeploymentStatus
UNSTABLE_POLICY_UNSPECIFIED: UnstablePolicy
UNSTABLE_POLICY_FAILED: UnstablePolicy
UNSTABLE_POLICY_COMPLETED: UnstablePolicy
CICD_JOB_STATE_UNSPECIFIED: CicdJobState
CICD_JOB_STATE_CREATING: CicdJobState
CICD_JOB_STATE_READY: CicdJobState
CICD_JOB_STATE_FAILED: CicdJobState
CORRELATION_UNSPECIFIED: Correlation
CORRELATION_RUN_ID: Correlation
CORRELATION_QUEUE_ITEM: Correlation
RUN_SOURCE_UNSPECIFIED: RunSource
RUN_SOURCE_SERVICE: RunSource
RUN_SOURCE_EXTERNAL: RunSource
WAITING_FOR_UNSPECIFIED: WaitingFor
WAITING_FOR_TRIGGER: WaitingFor
WAITING_FOR_QUEUE: WaitingFor
WAITING_FOR_INPUT: WaitingFor
FAILURE_CAUSE_UNSPECIFIED: FailureCause
FAILURE_CAUSE_TRIGGER_REJECTED: FailureCause
FAILURE_CAUSE_TRIGGER_DEADLINE: FailureCause
FAILURE_CAUSE_TRIGGER_OUTCOME_UNKNOWN: FailureCause
FAILURE_CAUSE_BUILD_FAILED: FailureCause
FAILURE_CAUSE_BUILD_UNSTABLE: FailureCause
FAILURE_CAUSE_BUILD_LOST: FailureCause
FAILURE_CAUSE_CANCELLED_IN_JENKINS: FailureCause
FAILURE_CAUSE_NOT_BUILT: FailureCause
FAILURE_CAUSE_JOB_PARAMETERS_MISMATCH: FailureCause
FAILURE_CAUSE_JOB_MISSING: FailureCause
FAILURE_CAUSE_CANCELLED: FailureCause
FAILURE_CAUSE_DEPLOYMENT_DELETED: FailureCause
FAILURE_CAUSE_RESOLVED_BY_OPERATOR: FailureCause
CERTAINTY_UNSPECIFIED: Certainty
CERTAINTY_REPORTED: Certainty
CERTAINTY_CONFIRMED: Certainty
CERTAINTY_UNVERIFIABLE: Certainty
EVENT_SOURCE_UNSPECIFIED: EventSource
EVENT_SOURCE_API: EventSource
EVENT_SOURCE_DISPATCHER: EventSource
EVENT_SOURCE_WEBHOOK: EventSource
EVENT_SOURCE_READ: EventSource
OBSERVATION_PROBLEM_REASON_UNSPECIFIED: ObservationProblemReason
OBSERVATION_PROBLEM_REASON_UNREACHABLE: ObservationProblemReason
OBSERVATION_PROBLEM_REASON_SLOW: ObservationProblemReason
OBSERVATION_PROBLEM_REASON_STARTING: ObservationProblemReason
OBSERVATION_PROBLEM_REASON_OVERLOADED: ObservationProblemReason
OBSERVATION_PROBLEM_REASON_SERVER_ERROR: ObservationProblemReason
OBSERVATION_PROBLEM_REASON_NOT_JENKINS: ObservationProblemReason
OBSERVATION_PROBLEM_REASON_REFUSED: ObservationProblemReason
OBSERVATION_PROBLEM_REASON_PERMISSION_MISSING: ObservationProblemReason
OBSERVATION_PROBLEM_REASON_MALFORMED_ANSWER: ObservationProblemReason
OBSERVATION_PROBLEM_REASON_JOB_NOT_SHOWN: ObservationProblemReason
PARAMETER_KIND_UNSPECIFIED: ParameterKind
PARAMETER_KIND_STRING: ParameterKind
PARAMETER_KIND_TEXT: ParameterKind
PARAMETER_KIND_BOOLEAN: ParameterKind
PARAMETER_KIND_CHOICE: ParameterKind
PARAMETER_KIND_SECRET: ParameterKind
WATCH_UNTIL_UNSPECIFIED: WatchUntil
WATCH_UNTIL_REPORTED: WatchUntil
WATCH_UNTIL_SETTLED: WatchUntil

class ObservationProblem(_message.Message):
    __slots__ = ("since", "reason", "message")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    since: _timestamp_pb2.Timestamp
    reason: ObservationProblemReason
    message: str
    def __init__(self, since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[ObservationProblemReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class Deployment(_message.Message):
    __slots__ = ("name", "uid", "display_name", "provider", "status", "parameter_definitions", "labels", "job", "cicd_job", "current_run", "last_completed_run", "revision", "create_time", "update_time", "etag", "unstable_policy", "delete_time", "purge_time", "observation_problem", "current_run_summary", "typical_duration")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_DEFINITIONS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    CICD_JOB_FIELD_NUMBER: _ClassVar[int]
    CURRENT_RUN_FIELD_NUMBER: _ClassVar[int]
    LAST_COMPLETED_RUN_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    UNSTABLE_POLICY_FIELD_NUMBER: _ClassVar[int]
    DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    PURGE_TIME_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    CURRENT_RUN_SUMMARY_FIELD_NUMBER: _ClassVar[int]
    TYPICAL_DURATION_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    display_name: str
    provider: str
    status: DeploymentStatus
    parameter_definitions: _containers.RepeatedCompositeFieldContainer[ParameterDefinition]
    labels: _containers.ScalarMap[str, str]
    job: DeploymentJob
    cicd_job: CicdJob
    current_run: str
    last_completed_run: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    etag: str
    unstable_policy: UnstablePolicy
    delete_time: _timestamp_pb2.Timestamp
    purge_time: _timestamp_pb2.Timestamp
    observation_problem: ObservationProblem
    current_run_summary: RunSummary
    typical_duration: _duration_pb2.Duration
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., display_name: _Optional[str] = ..., provider: _Optional[str] = ..., status: _Optional[_Union[DeploymentStatus, str]] = ..., parameter_definitions: _Optional[_Iterable[_Union[ParameterDefinition, _Mapping]]] = ..., labels: _Optional[_Mapping[str, str]] = ..., job: _Optional[_Union[DeploymentJob, _Mapping]] = ..., cicd_job: _Optional[_Union[CicdJob, _Mapping]] = ..., current_run: _Optional[str] = ..., last_completed_run: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ..., unstable_policy: _Optional[_Union[UnstablePolicy, str]] = ..., delete_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., purge_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., observation_problem: _Optional[_Union[ObservationProblem, _Mapping]] = ..., current_run_summary: _Optional[_Union[RunSummary, _Mapping]] = ..., typical_duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ParameterDefinition(_message.Message):
    __slots__ = ("name", "kind", "default_value", "choices", "required", "description")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VALUE_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: ParameterKind
    default_value: str
    choices: _containers.RepeatedScalarFieldContainer[str]
    required: bool
    description: str
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[ParameterKind, str]] = ..., default_value: _Optional[str] = ..., choices: _Optional[_Iterable[str]] = ..., required: bool = ..., description: _Optional[str] = ...) -> None: ...

class DeploymentJob(_message.Message):
    __slots__ = ("existing_job", "pipeline_script", "pipeline_scm", "freestyle_shell", "config_xml", "full_name")
    EXISTING_JOB_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_SCRIPT_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_SCM_FIELD_NUMBER: _ClassVar[int]
    FREESTYLE_SHELL_FIELD_NUMBER: _ClassVar[int]
    CONFIG_XML_FIELD_NUMBER: _ClassVar[int]
    FULL_NAME_FIELD_NUMBER: _ClassVar[int]
    existing_job: ExistingJob
    pipeline_script: str
    pipeline_scm: PipelineScm
    freestyle_shell: str
    config_xml: str
    full_name: str
    def __init__(self, existing_job: _Optional[_Union[ExistingJob, _Mapping]] = ..., pipeline_script: _Optional[str] = ..., pipeline_scm: _Optional[_Union[PipelineScm, _Mapping]] = ..., freestyle_shell: _Optional[str] = ..., config_xml: _Optional[str] = ..., full_name: _Optional[str] = ...) -> None: ...

class ExistingJob(_message.Message):
    __slots__ = ("full_name", "fixed_parameters")
    class FixedParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    FULL_NAME_FIELD_NUMBER: _ClassVar[int]
    FIXED_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    full_name: str
    fixed_parameters: _containers.ScalarMap[str, str]
    def __init__(self, full_name: _Optional[str] = ..., fixed_parameters: _Optional[_Mapping[str, str]] = ...) -> None: ...

class PipelineScm(_message.Message):
    __slots__ = ("url", "branch", "script_path", "credentials_id")
    URL_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    SCRIPT_PATH_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_ID_FIELD_NUMBER: _ClassVar[int]
    url: str
    branch: str
    script_path: str
    credentials_id: str
    def __init__(self, url: _Optional[str] = ..., branch: _Optional[str] = ..., script_path: _Optional[str] = ..., credentials_id: _Optional[str] = ...) -> None: ...

class CicdJob(_message.Message):
    __slots__ = ("id", "name", "url", "status", "build_number", "correlation", "state", "state_message", "webhook_url", "token_exposed", "signing_secret", "observation_problem")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    BUILD_NUMBER_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    WEBHOOK_URL_FIELD_NUMBER: _ClassVar[int]
    TOKEN_EXPOSED_FIELD_NUMBER: _ClassVar[int]
    SIGNING_SECRET_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    url: str
    status: str
    build_number: int
    correlation: Correlation
    state: CicdJobState
    state_message: str
    webhook_url: str
    token_exposed: bool
    signing_secret: str
    observation_problem: ObservationProblem
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., url: _Optional[str] = ..., status: _Optional[str] = ..., build_number: _Optional[int] = ..., correlation: _Optional[_Union[Correlation, str]] = ..., state: _Optional[_Union[CicdJobState, str]] = ..., state_message: _Optional[str] = ..., webhook_url: _Optional[str] = ..., token_exposed: bool = ..., signing_secret: _Optional[str] = ..., observation_problem: _Optional[_Union[ObservationProblem, _Mapping]] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("name", "status", "source", "parameters", "queue_id", "build_number", "build_url", "waiting_for", "waiting_reason", "create_time", "queue_time", "end_time", "last_observed_time", "certainty", "failure_cause", "failure_message", "uid", "cancel_request_time", "settle_time", "reported_status", "secret_parameters", "observation_problem", "requested_by", "reason", "annotations", "retry_of", "build_start_time")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class AnnotationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_ID_FIELD_NUMBER: _ClassVar[int]
    BUILD_NUMBER_FIELD_NUMBER: _ClassVar[int]
    BUILD_URL_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_FIELD_NUMBER: _ClassVar[int]
    WAITING_REASON_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    QUEUE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_OBSERVED_TIME_FIELD_NUMBER: _ClassVar[int]
    CERTAINTY_FIELD_NUMBER: _ClassVar[int]
    FAILURE_CAUSE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUEST_TIME_FIELD_NUMBER: _ClassVar[int]
    SETTLE_TIME_FIELD_NUMBER: _ClassVar[int]
    REPORTED_STATUS_FIELD_NUMBER: _ClassVar[int]
    SECRET_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    RETRY_OF_FIELD_NUMBER: _ClassVar[int]
    BUILD_START_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    status: DeploymentStatus
    source: RunSource
    parameters: _containers.ScalarMap[str, str]
    queue_id: str
    build_number: int
    build_url: str
    waiting_for: WaitingFor
    waiting_reason: str
    create_time: _timestamp_pb2.Timestamp
    queue_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    last_observed_time: _timestamp_pb2.Timestamp
    certainty: Certainty
    failure_cause: FailureCause
    failure_message: str
    uid: str
    cancel_request_time: _timestamp_pb2.Timestamp
    settle_time: _timestamp_pb2.Timestamp
    reported_status: DeploymentStatus
    secret_parameters: _containers.RepeatedScalarFieldContainer[str]
    observation_problem: ObservationProblem
    requested_by: Actor
    reason: str
    annotations: _containers.ScalarMap[str, str]
    retry_of: str
    build_start_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., status: _Optional[_Union[DeploymentStatus, str]] = ..., source: _Optional[_Union[RunSource, str]] = ..., parameters: _Optional[_Mapping[str, str]] = ..., queue_id: _Optional[str] = ..., build_number: _Optional[int] = ..., build_url: _Optional[str] = ..., waiting_for: _Optional[_Union[WaitingFor, str]] = ..., waiting_reason: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., queue_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_observed_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., certainty: _Optional[_Union[Certainty, str]] = ..., failure_cause: _Optional[_Union[FailureCause, str]] = ..., failure_message: _Optional[str] = ..., uid: _Optional[str] = ..., cancel_request_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., settle_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., reported_status: _Optional[_Union[DeploymentStatus, str]] = ..., secret_parameters: _Optional[_Iterable[str]] = ..., observation_problem: _Optional[_Union[ObservationProblem, _Mapping]] = ..., requested_by: _Optional[_Union[Actor, _Mapping]] = ..., reason: _Optional[str] = ..., annotations: _Optional[_Mapping[str, str]] = ..., retry_of: _Optional[str] = ..., build_start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RunSummary(_message.Message):
    __slots__ = ("name", "number", "status", "reported_status", "certainty", "waiting_for", "waiting_reason", "build_number", "build_url", "create_time", "queue_time", "build_start_time", "end_time", "settle_time", "last_observed_time", "requested_by", "failure_cause")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REPORTED_STATUS_FIELD_NUMBER: _ClassVar[int]
    CERTAINTY_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_FIELD_NUMBER: _ClassVar[int]
    WAITING_REASON_FIELD_NUMBER: _ClassVar[int]
    BUILD_NUMBER_FIELD_NUMBER: _ClassVar[int]
    BUILD_URL_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    QUEUE_TIME_FIELD_NUMBER: _ClassVar[int]
    BUILD_START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    SETTLE_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_OBSERVED_TIME_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    FAILURE_CAUSE_FIELD_NUMBER: _ClassVar[int]
    name: str
    number: int
    status: DeploymentStatus
    reported_status: DeploymentStatus
    certainty: Certainty
    waiting_for: WaitingFor
    waiting_reason: str
    build_number: int
    build_url: str
    create_time: _timestamp_pb2.Timestamp
    queue_time: _timestamp_pb2.Timestamp
    build_start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    settle_time: _timestamp_pb2.Timestamp
    last_observed_time: _timestamp_pb2.Timestamp
    requested_by: Actor
    failure_cause: FailureCause
    def __init__(self, name: _Optional[str] = ..., number: _Optional[int] = ..., status: _Optional[_Union[DeploymentStatus, str]] = ..., reported_status: _Optional[_Union[DeploymentStatus, str]] = ..., certainty: _Optional[_Union[Certainty, str]] = ..., waiting_for: _Optional[_Union[WaitingFor, str]] = ..., waiting_reason: _Optional[str] = ..., build_number: _Optional[int] = ..., build_url: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., queue_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., build_start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., settle_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_observed_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., requested_by: _Optional[_Union[Actor, _Mapping]] = ..., failure_cause: _Optional[_Union[FailureCause, str]] = ...) -> None: ...

class Actor(_message.Message):
    __slots__ = ("kind", "subject", "display_name", "on_behalf_of")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Actor.Kind]
        KIND_KEY: _ClassVar[Actor.Kind]
        KIND_OIDC: _ClassVar[Actor.Kind]
        KIND_JENKINS: _ClassVar[Actor.Kind]
        KIND_SERVICE: _ClassVar[Actor.Kind]
    KIND_UNSPECIFIED: Actor.Kind
    KIND_KEY: Actor.Kind
    KIND_OIDC: Actor.Kind
    KIND_JENKINS: Actor.Kind
    KIND_SERVICE: Actor.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    kind: Actor.Kind
    subject: str
    display_name: str
    on_behalf_of: str
    def __init__(self, kind: _Optional[_Union[Actor.Kind, str]] = ..., subject: _Optional[str] = ..., display_name: _Optional[str] = ..., on_behalf_of: _Optional[str] = ...) -> None: ...

class DeploymentEvent(_message.Message):
    __slots__ = ("sequence", "revision", "type", "deployment", "run", "cicd_job_id", "build_number", "old_run_status", "run_status", "source", "certainty", "correction", "message", "create_time", "deployment_uid", "deployment_status", "failure_cause", "actor", "observation_problem", "old_deployment_status", "waiting_for", "waiting_reason", "build_url", "failure_message")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TYPE_UNSPECIFIED: _ClassVar[DeploymentEvent.Type]
        DEPLOYMENT_STATUS_UPDATE: _ClassVar[DeploymentEvent.Type]
        DEPLOYMENT_RUN_START: _ClassVar[DeploymentEvent.Type]
        DEPLOYMENT_RUN_FAILURE: _ClassVar[DeploymentEvent.Type]
        DEPLOYMENT_CREATED: _ClassVar[DeploymentEvent.Type]
        DEPLOYMENT_UPDATED: _ClassVar[DeploymentEvent.Type]
        DEPLOYMENT_DELETED: _ClassVar[DeploymentEvent.Type]
        DEPLOYMENT_JOB_UPDATE: _ClassVar[DeploymentEvent.Type]
        DEPLOYMENT_RUN_SETTLED: _ClassVar[DeploymentEvent.Type]
        DEPLOYMENT_JOB_DRIFTED: _ClassVar[DeploymentEvent.Type]
        DEPLOYMENT_POSSIBLE_DUPLICATE: _ClassVar[DeploymentEvent.Type]
        DEPLOYMENT_OBSERVATION_PROBLEM: _ClassVar[DeploymentEvent.Type]
        DEPLOYMENT_RUN_WAITING: _ClassVar[DeploymentEvent.Type]
    TYPE_UNSPECIFIED: DeploymentEvent.Type
    DEPLOYMENT_STATUS_UPDATE: DeploymentEvent.Type
    DEPLOYMENT_RUN_START: DeploymentEvent.Type
    DEPLOYMENT_RUN_FAILURE: DeploymentEvent.Type
    DEPLOYMENT_CREATED: DeploymentEvent.Type
    DEPLOYMENT_UPDATED: DeploymentEvent.Type
    DEPLOYMENT_DELETED: DeploymentEvent.Type
    DEPLOYMENT_JOB_UPDATE: DeploymentEvent.Type
    DEPLOYMENT_RUN_SETTLED: DeploymentEvent.Type
    DEPLOYMENT_JOB_DRIFTED: DeploymentEvent.Type
    DEPLOYMENT_POSSIBLE_DUPLICATE: DeploymentEvent.Type
    DEPLOYMENT_OBSERVATION_PROBLEM: DeploymentEvent.Type
    DEPLOYMENT_RUN_WAITING: DeploymentEvent.Type
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    CICD_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    BUILD_NUMBER_FIELD_NUMBER: _ClassVar[int]
    OLD_RUN_STATUS_FIELD_NUMBER: _ClassVar[int]
    RUN_STATUS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CERTAINTY_FIELD_NUMBER: _ClassVar[int]
    CORRECTION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_UID_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_STATUS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_CAUSE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    OLD_DEPLOYMENT_STATUS_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_FIELD_NUMBER: _ClassVar[int]
    WAITING_REASON_FIELD_NUMBER: _ClassVar[int]
    BUILD_URL_FIELD_NUMBER: _ClassVar[int]
    FAILURE_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    revision: int
    type: DeploymentEvent.Type
    deployment: str
    run: str
    cicd_job_id: str
    build_number: int
    old_run_status: DeploymentStatus
    run_status: DeploymentStatus
    source: EventSource
    certainty: Certainty
    correction: bool
    message: str
    create_time: _timestamp_pb2.Timestamp
    deployment_uid: str
    deployment_status: DeploymentStatus
    failure_cause: FailureCause
    actor: Actor
    observation_problem: ObservationProblem
    old_deployment_status: DeploymentStatus
    waiting_for: WaitingFor
    waiting_reason: str
    build_url: str
    failure_message: str
    def __init__(self, sequence: _Optional[int] = ..., revision: _Optional[int] = ..., type: _Optional[_Union[DeploymentEvent.Type, str]] = ..., deployment: _Optional[str] = ..., run: _Optional[str] = ..., cicd_job_id: _Optional[str] = ..., build_number: _Optional[int] = ..., old_run_status: _Optional[_Union[DeploymentStatus, str]] = ..., run_status: _Optional[_Union[DeploymentStatus, str]] = ..., source: _Optional[_Union[EventSource, str]] = ..., certainty: _Optional[_Union[Certainty, str]] = ..., correction: bool = ..., message: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., deployment_uid: _Optional[str] = ..., deployment_status: _Optional[_Union[DeploymentStatus, str]] = ..., failure_cause: _Optional[_Union[FailureCause, str]] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ..., observation_problem: _Optional[_Union[ObservationProblem, _Mapping]] = ..., old_deployment_status: _Optional[_Union[DeploymentStatus, str]] = ..., waiting_for: _Optional[_Union[WaitingFor, str]] = ..., waiting_reason: _Optional[str] = ..., build_url: _Optional[str] = ..., failure_message: _Optional[str] = ...) -> None: ...

class CreateDeploymentRequest(_message.Message):
    __slots__ = ("parent", "deployment_id", "deployment", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    deployment_id: str
    deployment: Deployment
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., deployment_id: _Optional[str] = ..., deployment: _Optional[_Union[Deployment, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateDeploymentResponse(_message.Message):
    __slots__ = ("deployment", "resume_token")
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    deployment: Deployment
    resume_token: str
    def __init__(self, deployment: _Optional[_Union[Deployment, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class GetDeploymentRequest(_message.Message):
    __slots__ = ("name", "show_signing_secret")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHOW_SIGNING_SECRET_FIELD_NUMBER: _ClassVar[int]
    name: str
    show_signing_secret: bool
    def __init__(self, name: _Optional[str] = ..., show_signing_secret: bool = ...) -> None: ...

class GetDeploymentResponse(_message.Message):
    __slots__ = ("deployment",)
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    deployment: Deployment
    def __init__(self, deployment: _Optional[_Union[Deployment, _Mapping]] = ...) -> None: ...

class BatchGetDeploymentsRequest(_message.Message):
    __slots__ = ("parent", "names", "view")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    parent: str
    names: _containers.RepeatedScalarFieldContainer[str]
    view: View
    def __init__(self, parent: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ..., view: _Optional[_Union[View, str]] = ...) -> None: ...

class BatchGetDeploymentsResponse(_message.Message):
    __slots__ = ("deployments",)
    DEPLOYMENTS_FIELD_NUMBER: _ClassVar[int]
    deployments: _containers.RepeatedCompositeFieldContainer[Deployment]
    def __init__(self, deployments: _Optional[_Iterable[_Union[Deployment, _Mapping]]] = ...) -> None: ...

class ListDeploymentsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "statuses", "labels", "provider", "show_deleted", "view", "create_time_from", "create_time_until", "order_by")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    SHOW_DELETED_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FROM_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_UNTIL_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    statuses: _containers.RepeatedScalarFieldContainer[DeploymentStatus]
    labels: _containers.ScalarMap[str, str]
    provider: str
    show_deleted: bool
    view: View
    create_time_from: _timestamp_pb2.Timestamp
    create_time_until: _timestamp_pb2.Timestamp
    order_by: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., statuses: _Optional[_Iterable[_Union[DeploymentStatus, str]]] = ..., labels: _Optional[_Mapping[str, str]] = ..., provider: _Optional[str] = ..., show_deleted: bool = ..., view: _Optional[_Union[View, str]] = ..., create_time_from: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., create_time_until: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., order_by: _Optional[str] = ...) -> None: ...

class ListDeploymentsResponse(_message.Message):
    __slots__ = ("deployments", "next_page_token", "resume_token")
    DEPLOYMENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    deployments: _containers.RepeatedCompositeFieldContainer[Deployment]
    next_page_token: str
    resume_token: str
    def __init__(self, deployments: _Optional[_Iterable[_Union[Deployment, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class UpdateDeploymentRequest(_message.Message):
    __slots__ = ("deployment", "update_mask", "request_id")
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    deployment: Deployment
    update_mask: _field_mask_pb2.FieldMask
    request_id: str
    def __init__(self, deployment: _Optional[_Union[Deployment, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateDeploymentResponse(_message.Message):
    __slots__ = ("deployment", "resume_token")
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    deployment: Deployment
    resume_token: str
    def __init__(self, deployment: _Optional[_Union[Deployment, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class DeleteDeploymentRequest(_message.Message):
    __slots__ = ("name", "force", "etag", "request_id", "cancel_builds")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CANCEL_BUILDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    force: bool
    etag: str
    request_id: str
    cancel_builds: bool
    def __init__(self, name: _Optional[str] = ..., force: bool = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ..., cancel_builds: bool = ...) -> None: ...

class DeleteDeploymentResponse(_message.Message):
    __slots__ = ("resume_token",)
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    def __init__(self, resume_token: _Optional[str] = ...) -> None: ...

class RunDeploymentRequest(_message.Message):
    __slots__ = ("name", "parameters", "request_id", "allow_concurrent", "from_run", "on_behalf_of", "reason", "annotations")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class AnnotationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ALLOW_CONCURRENT_FIELD_NUMBER: _ClassVar[int]
    FROM_RUN_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    parameters: _containers.ScalarMap[str, str]
    request_id: str
    allow_concurrent: bool
    from_run: str
    on_behalf_of: str
    reason: str
    annotations: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., parameters: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ..., allow_concurrent: bool = ..., from_run: _Optional[str] = ..., on_behalf_of: _Optional[str] = ..., reason: _Optional[str] = ..., annotations: _Optional[_Mapping[str, str]] = ...) -> None: ...

class RunDeploymentResponse(_message.Message):
    __slots__ = ("run", "resume_token")
    RUN_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    run: Run
    resume_token: str
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class GetRunRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: Run
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ...) -> None: ...

class BatchGetRunsRequest(_message.Message):
    __slots__ = ("parent", "names", "view")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    parent: str
    names: _containers.RepeatedScalarFieldContainer[str]
    view: View
    def __init__(self, parent: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ..., view: _Optional[_Union[View, str]] = ...) -> None: ...

class BatchGetRunsResponse(_message.Message):
    __slots__ = ("runs",)
    RUNS_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[Run]
    def __init__(self, runs: _Optional[_Iterable[_Union[Run, _Mapping]]] = ...) -> None: ...

class CancelRunRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CancelRunResponse(_message.Message):
    __slots__ = ("run", "resume_token")
    RUN_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    run: Run
    resume_token: str
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class ResolveRunRequest(_message.Message):
    __slots__ = ("name", "status", "reason", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    status: DeploymentStatus
    reason: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., status: _Optional[_Union[DeploymentStatus, str]] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ResolveRunResponse(_message.Message):
    __slots__ = ("run", "resume_token")
    RUN_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    run: Run
    resume_token: str
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class RunResolution(_message.Message):
    __slots__ = ("status", "reason", "actor", "create_time", "old_status", "old_certainty")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    OLD_STATUS_FIELD_NUMBER: _ClassVar[int]
    OLD_CERTAINTY_FIELD_NUMBER: _ClassVar[int]
    status: DeploymentStatus
    reason: str
    actor: Actor
    create_time: _timestamp_pb2.Timestamp
    old_status: DeploymentStatus
    old_certainty: Certainty
    def __init__(self, status: _Optional[_Union[DeploymentStatus, str]] = ..., reason: _Optional[str] = ..., actor: _Optional[_Union[Actor, _Mapping]] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., old_status: _Optional[_Union[DeploymentStatus, str]] = ..., old_certainty: _Optional[_Union[Certainty, str]] = ...) -> None: ...

class ExplainRunRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ExplainRunResponse(_message.Message):
    __slots__ = ("run", "job_problem", "attempts", "reports", "events", "resolutions")
    RUN_FIELD_NUMBER: _ClassVar[int]
    JOB_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    RESOLUTIONS_FIELD_NUMBER: _ClassVar[int]
    run: Run
    job_problem: ObservationProblem
    attempts: _containers.RepeatedCompositeFieldContainer[RunAttempt]
    reports: _containers.RepeatedCompositeFieldContainer[RunReport]
    events: _containers.RepeatedCompositeFieldContainer[DeploymentEvent]
    resolutions: _containers.RepeatedCompositeFieldContainer[RunResolution]
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ..., job_problem: _Optional[_Union[ObservationProblem, _Mapping]] = ..., attempts: _Optional[_Iterable[_Union[RunAttempt, _Mapping]]] = ..., reports: _Optional[_Iterable[_Union[RunReport, _Mapping]]] = ..., events: _Optional[_Iterable[_Union[DeploymentEvent, _Mapping]]] = ..., resolutions: _Optional[_Iterable[_Union[RunResolution, _Mapping]]] = ...) -> None: ...

class RunAttempt(_message.Message):
    __slots__ = ("attempt", "owner", "claim_time", "send_by", "next_build_number", "jenkins_session", "outcome", "http_status", "queue_id", "message", "end_time")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    CLAIM_TIME_FIELD_NUMBER: _ClassVar[int]
    SEND_BY_FIELD_NUMBER: _ClassVar[int]
    NEXT_BUILD_NUMBER_FIELD_NUMBER: _ClassVar[int]
    JENKINS_SESSION_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    HTTP_STATUS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    owner: str
    claim_time: _timestamp_pb2.Timestamp
    send_by: _timestamp_pb2.Timestamp
    next_build_number: int
    jenkins_session: str
    outcome: str
    http_status: int
    queue_id: str
    message: str
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, attempt: _Optional[int] = ..., owner: _Optional[str] = ..., claim_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., send_by: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., next_build_number: _Optional[int] = ..., jenkins_session: _Optional[str] = ..., outcome: _Optional[str] = ..., http_status: _Optional[int] = ..., queue_id: _Optional[str] = ..., message: _Optional[str] = ..., end_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RunReport(_message.Message):
    __slots__ = ("receive_time", "source", "phase", "status", "build_number", "queue_id", "verdict", "message", "named_run_uid")
    RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    BUILD_NUMBER_FIELD_NUMBER: _ClassVar[int]
    QUEUE_ID_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NAMED_RUN_UID_FIELD_NUMBER: _ClassVar[int]
    receive_time: _timestamp_pb2.Timestamp
    source: str
    phase: str
    status: str
    build_number: int
    queue_id: str
    verdict: str
    message: str
    named_run_uid: str
    def __init__(self, receive_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[str] = ..., phase: _Optional[str] = ..., status: _Optional[str] = ..., build_number: _Optional[int] = ..., queue_id: _Optional[str] = ..., verdict: _Optional[str] = ..., message: _Optional[str] = ..., named_run_uid: _Optional[str] = ...) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "statuses", "show_deleted", "sources", "create_time_from", "create_time_until", "order_by", "view")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    SHOW_DELETED_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FROM_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_UNTIL_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    statuses: _containers.RepeatedScalarFieldContainer[DeploymentStatus]
    show_deleted: bool
    sources: _containers.RepeatedScalarFieldContainer[RunSource]
    create_time_from: _timestamp_pb2.Timestamp
    create_time_until: _timestamp_pb2.Timestamp
    order_by: str
    view: View
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., statuses: _Optional[_Iterable[_Union[DeploymentStatus, str]]] = ..., show_deleted: bool = ..., sources: _Optional[_Iterable[_Union[RunSource, str]]] = ..., create_time_from: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., create_time_until: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., order_by: _Optional[str] = ..., view: _Optional[_Union[View, str]] = ...) -> None: ...

class ListRunsResponse(_message.Message):
    __slots__ = ("runs", "next_page_token", "resume_token")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[Run]
    next_page_token: str
    resume_token: str
    def __init__(self, runs: _Optional[_Iterable[_Union[Run, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class ListReportsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "cicd_job_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CICD_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    cicd_job_id: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., cicd_job_id: _Optional[str] = ...) -> None: ...

class ListReportsResponse(_message.Message):
    __slots__ = ("reports", "next_page_token")
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    reports: _containers.RepeatedCompositeFieldContainer[RunReport]
    next_page_token: str
    def __init__(self, reports: _Optional[_Iterable[_Union[RunReport, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "types", "sources", "create_time_from", "create_time_until", "run", "order_by")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FROM_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_UNTIL_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    types: _containers.RepeatedScalarFieldContainer[DeploymentEvent.Type]
    sources: _containers.RepeatedScalarFieldContainer[EventSource]
    create_time_from: _timestamp_pb2.Timestamp
    create_time_until: _timestamp_pb2.Timestamp
    run: str
    order_by: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., types: _Optional[_Iterable[_Union[DeploymentEvent.Type, str]]] = ..., sources: _Optional[_Iterable[_Union[EventSource, str]]] = ..., create_time_from: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., create_time_until: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., run: _Optional[str] = ..., order_by: _Optional[str] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events", "next_page_token", "resume_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[DeploymentEvent]
    next_page_token: str
    resume_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[DeploymentEvent, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchDeploymentsRequest(_message.Message):
    __slots__ = ("parent", "names", "types", "resume_token", "until", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    parent: str
    names: _containers.RepeatedScalarFieldContainer[str]
    types: _containers.RepeatedScalarFieldContainer[DeploymentEvent.Type]
    resume_token: str
    until: WatchUntil
    labels: _containers.ScalarMap[str, str]
    def __init__(self, parent: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ..., types: _Optional[_Iterable[_Union[DeploymentEvent.Type, str]]] = ..., resume_token: _Optional[str] = ..., until: _Optional[_Union[WatchUntil, str]] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class WatchDeploymentsResponse(_message.Message):
    __slots__ = ("start", "deployment", "snapshot_complete", "event", "bookmark", "reset", "resume_token", "prev_sequence")
    START_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    BOOKMARK_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PREV_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    start: WatchStart
    deployment: Deployment
    snapshot_complete: SnapshotComplete
    event: DeploymentEvent
    bookmark: Bookmark
    reset: Reset
    resume_token: str
    prev_sequence: int
    def __init__(self, start: _Optional[_Union[WatchStart, _Mapping]] = ..., deployment: _Optional[_Union[Deployment, _Mapping]] = ..., snapshot_complete: _Optional[_Union[SnapshotComplete, _Mapping]] = ..., event: _Optional[_Union[DeploymentEvent, _Mapping]] = ..., bookmark: _Optional[_Union[Bookmark, _Mapping]] = ..., reset: _Optional[_Union[Reset, _Mapping]] = ..., resume_token: _Optional[str] = ..., prev_sequence: _Optional[int] = ...) -> None: ...

class WatchStart(_message.Message):
    __slots__ = ("max_silence", "sequence")
    MAX_SILENCE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    max_silence: _duration_pb2.Duration
    sequence: int
    def __init__(self, max_silence: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., sequence: _Optional[int] = ...) -> None: ...

class SnapshotComplete(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class Bookmark(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class Reset(_message.Message):
    __slots__ = ("reason",)
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[Reset.Reason]
        REASON_HISTORY_TRIMMED: _ClassVar[Reset.Reason]
        REASON_STORE_CHANGED: _ClassVar[Reset.Reason]
    REASON_UNSPECIFIED: Reset.Reason
    REASON_HISTORY_TRIMMED: Reset.Reason
    REASON_STORE_CHANGED: Reset.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: Reset.Reason
    def __init__(self, reason: _Optional[_Union[Reset.Reason, str]] = ...) -> None: ...
