from deployment_service.v1 import deployment_service_pb2 as _deployment_service_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BuildPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BUILD_PHASE_UNSPECIFIED: _ClassVar[BuildPhase]
    BUILD_PHASE_QUEUED: _ClassVar[BuildPhase]
    BUILD_PHASE_STARTED: _ClassVar[BuildPhase]
    BUILD_PHASE_COMPLETED: _ClassVar[BuildPhase]
    BUILD_PHASE_FINALIZED: _ClassVar[BuildPhase]

class ReportSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPORT_SOURCE_UNSPECIFIED: _ClassVar[ReportSource]
    REPORT_SOURCE_GUIDE: _ClassVar[ReportSource]
    REPORT_SOURCE_NOTIFICATION_PLUGIN: _ClassVar[ReportSource]

class ReportProof(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPORT_PROOF_UNSPECIFIED: _ClassVar[ReportProof]
    REPORT_PROOF_TOKEN: _ClassVar[ReportProof]
    REPORT_PROOF_SIGNATURE: _ClassVar[ReportProof]

class ReportVerdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPORT_VERDICT_UNSPECIFIED: _ClassVar[ReportVerdict]
    REPORT_VERDICT_APPLIED: _ClassVar[ReportVerdict]
    REPORT_VERDICT_DUPLICATE: _ClassVar[ReportVerdict]
    REPORT_VERDICT_STALE: _ClassVar[ReportVerdict]
    REPORT_VERDICT_NO_MAPPING: _ClassVar[ReportVerdict]
    REPORT_VERDICT_WRONG_JOB: _ClassVar[ReportVerdict]
    REPORT_VERDICT_AMBIGUOUS: _ClassVar[ReportVerdict]
    REPORT_VERDICT_RETRY: _ClassVar[ReportVerdict]
    REPORT_VERDICT_INVALID: _ClassVar[ReportVerdict]
    REPORT_VERDICT_PENDING_ATTRIBUTION: _ClassVar[ReportVerdict]
    REPORT_VERDICT_DEFERRED: _ClassVar[ReportVerdict]
    REPORT_VERDICT_TESTED: _ClassVar[ReportVerdict]
    REPORT_VERDICT_NO_SUCH_BUILD: _ClassVar[ReportVerdict]
    REPORT_VERDICT_DISPROVED: _ClassVar[ReportVerdict]
BUILD_PHASE_UNSPECIFIED: BuildPhase
BUILD_PHASE_QUEUED: BuildPhase
BUILD_PHASE_STARTED: BuildPhase
BUILD_PHASE_COMPLETED: BuildPhase
BUILD_PHASE_FINALIZED: BuildPhase
REPORT_SOURCE_UNSPECIFIED: ReportSource
REPORT_SOURCE_GUIDE: ReportSource
REPORT_SOURCE_NOTIFICATION_PLUGIN: ReportSource
REPORT_PROOF_UNSPECIFIED: ReportProof
REPORT_PROOF_TOKEN: ReportProof
REPORT_PROOF_SIGNATURE: ReportProof
REPORT_VERDICT_UNSPECIFIED: ReportVerdict
REPORT_VERDICT_APPLIED: ReportVerdict
REPORT_VERDICT_DUPLICATE: ReportVerdict
REPORT_VERDICT_STALE: ReportVerdict
REPORT_VERDICT_NO_MAPPING: ReportVerdict
REPORT_VERDICT_WRONG_JOB: ReportVerdict
REPORT_VERDICT_AMBIGUOUS: ReportVerdict
REPORT_VERDICT_RETRY: ReportVerdict
REPORT_VERDICT_INVALID: ReportVerdict
REPORT_VERDICT_PENDING_ATTRIBUTION: ReportVerdict
REPORT_VERDICT_DEFERRED: ReportVerdict
REPORT_VERDICT_TESTED: ReportVerdict
REPORT_VERDICT_NO_SUCH_BUILD: ReportVerdict
REPORT_VERDICT_DISPROVED: ReportVerdict

class BuildReport(_message.Message):
    __slots__ = ("tenant", "cicd_job_id", "build_number", "status", "phase", "source", "run_id", "parameters_known", "queue_id", "job_path", "sender_timestamp_ms", "receive_time", "parameters", "proof", "key_id", "delivery_id", "test")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TENANT_FIELD_NUMBER: _ClassVar[int]
    CICD_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    BUILD_NUMBER_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_KNOWN_FIELD_NUMBER: _ClassVar[int]
    QUEUE_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_PATH_FIELD_NUMBER: _ClassVar[int]
    SENDER_TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_ID_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    cicd_job_id: str
    build_number: int
    status: str
    phase: BuildPhase
    source: ReportSource
    run_id: str
    parameters_known: bool
    queue_id: str
    job_path: str
    sender_timestamp_ms: int
    receive_time: _timestamp_pb2.Timestamp
    parameters: _containers.ScalarMap[str, str]
    proof: ReportProof
    key_id: str
    delivery_id: str
    test: bool
    def __init__(self, tenant: _Optional[str] = ..., cicd_job_id: _Optional[str] = ..., build_number: _Optional[int] = ..., status: _Optional[str] = ..., phase: _Optional[_Union[BuildPhase, str]] = ..., source: _Optional[_Union[ReportSource, str]] = ..., run_id: _Optional[str] = ..., parameters_known: bool = ..., queue_id: _Optional[str] = ..., job_path: _Optional[str] = ..., sender_timestamp_ms: _Optional[int] = ..., receive_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., parameters: _Optional[_Mapping[str, str]] = ..., proof: _Optional[_Union[ReportProof, str]] = ..., key_id: _Optional[str] = ..., delivery_id: _Optional[str] = ..., test: bool = ...) -> None: ...

class RefreshRequest(_message.Message):
    __slots__ = ("tenant", "cicd_job_id", "reason")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    CICD_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    cicd_job_id: str
    reason: str
    def __init__(self, tenant: _Optional[str] = ..., cicd_job_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ReportBuildsRequest(_message.Message):
    __slots__ = ("reports", "refresh_requests")
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    REFRESH_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    reports: _containers.RepeatedCompositeFieldContainer[BuildReport]
    refresh_requests: _containers.RepeatedCompositeFieldContainer[RefreshRequest]
    def __init__(self, reports: _Optional[_Iterable[_Union[BuildReport, _Mapping]]] = ..., refresh_requests: _Optional[_Iterable[_Union[RefreshRequest, _Mapping]]] = ...) -> None: ...

class ReportBuildsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReportResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReportResult, _Mapping]]] = ...) -> None: ...

class ReportResult(_message.Message):
    __slots__ = ("verdict", "deployment", "old_status", "status", "message")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    OLD_STATUS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    verdict: ReportVerdict
    deployment: str
    old_status: _deployment_service_pb2.DeploymentStatus
    status: _deployment_service_pb2.DeploymentStatus
    message: str
    def __init__(self, verdict: _Optional[_Union[ReportVerdict, str]] = ..., deployment: _Optional[str] = ..., old_status: _Optional[_Union[_deployment_service_pb2.DeploymentStatus, str]] = ..., status: _Optional[_Union[_deployment_service_pb2.DeploymentStatus, str]] = ..., message: _Optional[str] = ...) -> None: ...

class ListWebhookVerifiersRequest(_message.Message):
    __slots__ = ("cursor", "page_size")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    page_size: int
    def __init__(self, cursor: _Optional[str] = ..., page_size: _Optional[int] = ...) -> None: ...

class ListWebhookVerifiersResponse(_message.Message):
    __slots__ = ("verifiers", "next_cursor", "more", "reset")
    VERIFIERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    verifiers: _containers.RepeatedCompositeFieldContainer[WebhookVerifier]
    next_cursor: str
    more: bool
    reset: bool
    def __init__(self, verifiers: _Optional[_Iterable[_Union[WebhookVerifier, _Mapping]]] = ..., next_cursor: _Optional[str] = ..., more: bool = ..., reset: bool = ...) -> None: ...

class WebhookVerifier(_message.Message):
    __slots__ = ("tenant", "cicd_job_id", "deleted", "keys")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    CICD_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    cicd_job_id: str
    deleted: bool
    keys: _containers.RepeatedCompositeFieldContainer[KeyVerifier]
    def __init__(self, tenant: _Optional[str] = ..., cicd_job_id: _Optional[str] = ..., deleted: bool = ..., keys: _Optional[_Iterable[_Union[KeyVerifier, _Mapping]]] = ...) -> None: ...

class KeyVerifier(_message.Message):
    __slots__ = ("key_id", "token_sha256", "signing_secret")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_SHA256_FIELD_NUMBER: _ClassVar[int]
    SIGNING_SECRET_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    token_sha256: bytes
    signing_secret: bytes
    def __init__(self, key_id: _Optional[str] = ..., token_sha256: _Optional[bytes] = ..., signing_secret: _Optional[bytes] = ...) -> None: ...
