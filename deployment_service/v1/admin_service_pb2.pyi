from deployment_service.v1 import deployment_service_pb2 as _deployment_service_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_VIEWER: _ClassVar[Role]
    ROLE_DEPLOYER: _ClassVar[Role]
    ROLE_DEFINER: _ClassVar[Role]
    ROLE_GATEWAY: _ClassVar[Role]
    ROLE_ADMIN: _ClassVar[Role]

class Reporting(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPORTING_UNSPECIFIED: _ClassVar[Reporting]
    REPORTING_AUTO: _ClassVar[Reporting]
    REPORTING_WEBHOOK: _ClassVar[Reporting]
    REPORTING_POLLING: _ClassVar[Reporting]

class JobKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_KIND_UNSPECIFIED: _ClassVar[JobKind]
    JOB_KIND_EXISTING: _ClassVar[JobKind]
    JOB_KIND_PIPELINE_SCRIPT: _ClassVar[JobKind]
    JOB_KIND_PIPELINE_SCM: _ClassVar[JobKind]
    JOB_KIND_FREESTYLE_SHELL: _ClassVar[JobKind]
    JOB_KIND_CONFIG_XML: _ClassVar[JobKind]
ROLE_UNSPECIFIED: Role
ROLE_VIEWER: Role
ROLE_DEPLOYER: Role
ROLE_DEFINER: Role
ROLE_GATEWAY: Role
ROLE_ADMIN: Role
REPORTING_UNSPECIFIED: Reporting
REPORTING_AUTO: Reporting
REPORTING_WEBHOOK: Reporting
REPORTING_POLLING: Reporting
JOB_KIND_UNSPECIFIED: JobKind
JOB_KIND_EXISTING: JobKind
JOB_KIND_PIPELINE_SCRIPT: JobKind
JOB_KIND_PIPELINE_SCM: JobKind
JOB_KIND_FREESTYLE_SHELL: JobKind
JOB_KIND_CONFIG_XML: JobKind

class Tenant(_message.Message):
    __slots__ = ("name", "uid", "display_name", "create_time", "update_time", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    display_name: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    etag: str
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., display_name: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ...) -> None: ...

class Provider(_message.Message):
    __slots__ = ("name", "uid", "display_name", "base_url", "username", "api_token", "reporting", "webhook_base_url", "ca_certificate_pem", "job_folder", "allowed_folders", "allowed_job_kinds", "create_time", "update_time", "etag", "private_console", "observation_problem")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    BASE_URL_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    API_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REPORTING_FIELD_NUMBER: _ClassVar[int]
    WEBHOOK_BASE_URL_FIELD_NUMBER: _ClassVar[int]
    CA_CERTIFICATE_PEM_FIELD_NUMBER: _ClassVar[int]
    JOB_FOLDER_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FOLDERS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_JOB_KINDS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_CONSOLE_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    display_name: str
    base_url: str
    username: str
    api_token: str
    reporting: Reporting
    webhook_base_url: str
    ca_certificate_pem: str
    job_folder: str
    allowed_folders: _containers.RepeatedScalarFieldContainer[str]
    allowed_job_kinds: _containers.RepeatedScalarFieldContainer[JobKind]
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    etag: str
    private_console: bool
    observation_problem: _deployment_service_pb2.ObservationProblem
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., display_name: _Optional[str] = ..., base_url: _Optional[str] = ..., username: _Optional[str] = ..., api_token: _Optional[str] = ..., reporting: _Optional[_Union[Reporting, str]] = ..., webhook_base_url: _Optional[str] = ..., ca_certificate_pem: _Optional[str] = ..., job_folder: _Optional[str] = ..., allowed_folders: _Optional[_Iterable[str]] = ..., allowed_job_kinds: _Optional[_Iterable[_Union[JobKind, str]]] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ..., private_console: bool = ..., observation_problem: _Optional[_Union[_deployment_service_pb2.ObservationProblem, _Mapping]] = ...) -> None: ...

class ProviderFinding(_message.Message):
    __slots__ = ("kind", "severity", "message", "field", "settings_wrong")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[ProviderFinding.Kind]
        KIND_UNREACHABLE: _ClassVar[ProviderFinding.Kind]
        KIND_UNAVAILABLE: _ClassVar[ProviderFinding.Kind]
        KIND_CERTIFICATE: _ClassVar[ProviderFinding.Kind]
        KIND_REDIRECT: _ClassVar[ProviderFinding.Kind]
        KIND_NOT_JENKINS: _ClassVar[ProviderFinding.Kind]
        KIND_NOT_ROOT: _ClassVar[ProviderFinding.Kind]
        KIND_JENKINS: _ClassVar[ProviderFinding.Kind]
        KIND_JENKINS_URL: _ClassVar[ProviderFinding.Kind]
        KIND_ACCOUNT: _ClassVar[ProviderFinding.Kind]
        KIND_PERMISSION: _ClassVar[ProviderFinding.Kind]
        KIND_FOLDER: _ClassVar[ProviderFinding.Kind]
        KIND_READING: _ClassVar[ProviderFinding.Kind]
        KIND_PLUGIN: _ClassVar[ProviderFinding.Kind]
        KIND_SECRETS: _ClassVar[ProviderFinding.Kind]
        KIND_CLOCK: _ClassVar[ProviderFinding.Kind]
        KIND_WEBHOOKS: _ClassVar[ProviderFinding.Kind]
        KIND_INCOMPLETE: _ClassVar[ProviderFinding.Kind]
    KIND_UNSPECIFIED: ProviderFinding.Kind
    KIND_UNREACHABLE: ProviderFinding.Kind
    KIND_UNAVAILABLE: ProviderFinding.Kind
    KIND_CERTIFICATE: ProviderFinding.Kind
    KIND_REDIRECT: ProviderFinding.Kind
    KIND_NOT_JENKINS: ProviderFinding.Kind
    KIND_NOT_ROOT: ProviderFinding.Kind
    KIND_JENKINS: ProviderFinding.Kind
    KIND_JENKINS_URL: ProviderFinding.Kind
    KIND_ACCOUNT: ProviderFinding.Kind
    KIND_PERMISSION: ProviderFinding.Kind
    KIND_FOLDER: ProviderFinding.Kind
    KIND_READING: ProviderFinding.Kind
    KIND_PLUGIN: ProviderFinding.Kind
    KIND_SECRETS: ProviderFinding.Kind
    KIND_CLOCK: ProviderFinding.Kind
    KIND_WEBHOOKS: ProviderFinding.Kind
    KIND_INCOMPLETE: ProviderFinding.Kind
    class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SEVERITY_UNSPECIFIED: _ClassVar[ProviderFinding.Severity]
        SEVERITY_ERROR: _ClassVar[ProviderFinding.Severity]
        SEVERITY_WARNING: _ClassVar[ProviderFinding.Severity]
        SEVERITY_INFO: _ClassVar[ProviderFinding.Severity]
    SEVERITY_UNSPECIFIED: ProviderFinding.Severity
    SEVERITY_ERROR: ProviderFinding.Severity
    SEVERITY_WARNING: ProviderFinding.Severity
    SEVERITY_INFO: ProviderFinding.Severity
    KIND_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_WRONG_FIELD_NUMBER: _ClassVar[int]
    kind: ProviderFinding.Kind
    severity: ProviderFinding.Severity
    message: str
    field: str
    settings_wrong: bool
    def __init__(self, kind: _Optional[_Union[ProviderFinding.Kind, str]] = ..., severity: _Optional[_Union[ProviderFinding.Severity, str]] = ..., message: _Optional[str] = ..., field: _Optional[str] = ..., settings_wrong: bool = ...) -> None: ...

class ApiKey(_message.Message):
    __slots__ = ("name", "display_name", "role", "tenant", "create_time", "revoke_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    REVOKE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    role: Role
    tenant: str
    create_time: _timestamp_pb2.Timestamp
    revoke_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., role: _Optional[_Union[Role, str]] = ..., tenant: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., revoke_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateTenantRequest(_message.Message):
    __slots__ = ("tenant_id", "tenant", "request_id")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    tenant: Tenant
    request_id: str
    def __init__(self, tenant_id: _Optional[str] = ..., tenant: _Optional[_Union[Tenant, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateTenantResponse(_message.Message):
    __slots__ = ("tenant",)
    TENANT_FIELD_NUMBER: _ClassVar[int]
    tenant: Tenant
    def __init__(self, tenant: _Optional[_Union[Tenant, _Mapping]] = ...) -> None: ...

class GetTenantRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetTenantResponse(_message.Message):
    __slots__ = ("tenant",)
    TENANT_FIELD_NUMBER: _ClassVar[int]
    tenant: Tenant
    def __init__(self, tenant: _Optional[_Union[Tenant, _Mapping]] = ...) -> None: ...

class ListTenantsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTenantsResponse(_message.Message):
    __slots__ = ("tenants", "next_page_token")
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tenants: _containers.RepeatedCompositeFieldContainer[Tenant]
    next_page_token: str
    def __init__(self, tenants: _Optional[_Iterable[_Union[Tenant, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateTenantRequest(_message.Message):
    __slots__ = ("tenant", "update_mask", "request_id")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    tenant: Tenant
    update_mask: _field_mask_pb2.FieldMask
    request_id: str
    def __init__(self, tenant: _Optional[_Union[Tenant, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateTenantResponse(_message.Message):
    __slots__ = ("tenant",)
    TENANT_FIELD_NUMBER: _ClassVar[int]
    tenant: Tenant
    def __init__(self, tenant: _Optional[_Union[Tenant, _Mapping]] = ...) -> None: ...

class DeleteTenantRequest(_message.Message):
    __slots__ = ("name", "etag", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteTenantResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WebhookKeyInfo(_message.Message):
    __slots__ = ("key_id", "create_time", "retire_time", "last_seen_time", "jobs_in_use")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    RETIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    JOBS_IN_USE_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    create_time: _timestamp_pb2.Timestamp
    retire_time: _timestamp_pb2.Timestamp
    last_seen_time: _timestamp_pb2.Timestamp
    jobs_in_use: int
    def __init__(self, key_id: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., retire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_seen_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., jobs_in_use: _Optional[int] = ...) -> None: ...

class WebhookJob(_message.Message):
    __slots__ = ("provider", "job", "webhook_url", "signing_secret")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    WEBHOOK_URL_FIELD_NUMBER: _ClassVar[int]
    SIGNING_SECRET_FIELD_NUMBER: _ClassVar[int]
    provider: str
    job: str
    webhook_url: str
    signing_secret: str
    def __init__(self, provider: _Optional[str] = ..., job: _Optional[str] = ..., webhook_url: _Optional[str] = ..., signing_secret: _Optional[str] = ...) -> None: ...

class RotateWebhookSecretRequest(_message.Message):
    __slots__ = ("tenant", "request_id")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    request_id: str
    def __init__(self, tenant: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RotateWebhookSecretResponse(_message.Message):
    __slots__ = ("key_id", "rewriting_jobs", "other_jobs", "keys")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    REWRITING_JOBS_FIELD_NUMBER: _ClassVar[int]
    OTHER_JOBS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    rewriting_jobs: _containers.RepeatedScalarFieldContainer[str]
    other_jobs: _containers.RepeatedCompositeFieldContainer[WebhookJob]
    keys: _containers.RepeatedCompositeFieldContainer[WebhookKeyInfo]
    def __init__(self, key_id: _Optional[str] = ..., rewriting_jobs: _Optional[_Iterable[str]] = ..., other_jobs: _Optional[_Iterable[_Union[WebhookJob, _Mapping]]] = ..., keys: _Optional[_Iterable[_Union[WebhookKeyInfo, _Mapping]]] = ...) -> None: ...

class RetireWebhookKeyRequest(_message.Message):
    __slots__ = ("tenant", "key_id", "force", "request_id")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    key_id: str
    force: bool
    request_id: str
    def __init__(self, tenant: _Optional[str] = ..., key_id: _Optional[str] = ..., force: bool = ..., request_id: _Optional[str] = ...) -> None: ...

class RetireWebhookKeyResponse(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: WebhookKeyInfo
    def __init__(self, key: _Optional[_Union[WebhookKeyInfo, _Mapping]] = ...) -> None: ...

class CreateProviderRequest(_message.Message):
    __slots__ = ("parent", "provider_id", "provider", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    provider_id: str
    provider: Provider
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., provider_id: _Optional[str] = ..., provider: _Optional[_Union[Provider, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateProviderResponse(_message.Message):
    __slots__ = ("provider", "findings")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    provider: Provider
    findings: _containers.RepeatedCompositeFieldContainer[ProviderFinding]
    def __init__(self, provider: _Optional[_Union[Provider, _Mapping]] = ..., findings: _Optional[_Iterable[_Union[ProviderFinding, _Mapping]]] = ...) -> None: ...

class CheckProviderRequest(_message.Message):
    __slots__ = ("name", "provider")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    name: str
    provider: Provider
    def __init__(self, name: _Optional[str] = ..., provider: _Optional[_Union[Provider, _Mapping]] = ...) -> None: ...

class CheckProviderResponse(_message.Message):
    __slots__ = ("findings", "jenkins_version", "account")
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    JENKINS_VERSION_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[ProviderFinding]
    jenkins_version: str
    account: str
    def __init__(self, findings: _Optional[_Iterable[_Union[ProviderFinding, _Mapping]]] = ..., jenkins_version: _Optional[str] = ..., account: _Optional[str] = ...) -> None: ...

class GetProviderRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetProviderResponse(_message.Message):
    __slots__ = ("provider",)
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    provider: Provider
    def __init__(self, provider: _Optional[_Union[Provider, _Mapping]] = ...) -> None: ...

class ListProvidersRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListProvidersResponse(_message.Message):
    __slots__ = ("providers", "next_page_token")
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    providers: _containers.RepeatedCompositeFieldContainer[Provider]
    next_page_token: str
    def __init__(self, providers: _Optional[_Iterable[_Union[Provider, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateProviderRequest(_message.Message):
    __slots__ = ("provider", "update_mask", "request_id")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    provider: Provider
    update_mask: _field_mask_pb2.FieldMask
    request_id: str
    def __init__(self, provider: _Optional[_Union[Provider, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateProviderResponse(_message.Message):
    __slots__ = ("provider", "findings")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    provider: Provider
    findings: _containers.RepeatedCompositeFieldContainer[ProviderFinding]
    def __init__(self, provider: _Optional[_Union[Provider, _Mapping]] = ..., findings: _Optional[_Iterable[_Union[ProviderFinding, _Mapping]]] = ...) -> None: ...

class DeleteProviderRequest(_message.Message):
    __slots__ = ("name", "etag", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteProviderResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CreateApiKeyRequest(_message.Message):
    __slots__ = ("api_key", "request_id")
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    api_key: ApiKey
    request_id: str
    def __init__(self, api_key: _Optional[_Union[ApiKey, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateApiKeyResponse(_message.Message):
    __slots__ = ("api_key", "secret")
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    api_key: ApiKey
    secret: str
    def __init__(self, api_key: _Optional[_Union[ApiKey, _Mapping]] = ..., secret: _Optional[str] = ...) -> None: ...

class ListApiKeysRequest(_message.Message):
    __slots__ = ("tenant", "page_size", "page_token")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    page_size: int
    page_token: str
    def __init__(self, tenant: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListApiKeysResponse(_message.Message):
    __slots__ = ("api_keys", "next_page_token")
    API_KEYS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    api_keys: _containers.RepeatedCompositeFieldContainer[ApiKey]
    next_page_token: str
    def __init__(self, api_keys: _Optional[_Iterable[_Union[ApiKey, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RevokeApiKeyRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RevokeApiKeyResponse(_message.Message):
    __slots__ = ("api_key",)
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    api_key: ApiKey
    def __init__(self, api_key: _Optional[_Union[ApiKey, _Mapping]] = ...) -> None: ...
