"""The composition root: makes the parts, starts them in order, stops them in the order that loses nothing."""

from __future__ import annotations

import asyncio

from deployment_service import failpoints
from deployment_service.actions.cancel_run import RunCanceller
from deployment_service.actions.check_provider import ProviderChecker
from deployment_service.actions.egress import AllowedOrigins
from deployment_service.actions.report import ReportBuilds
from deployment_service.actions.run_deployment import RunStarter
from deployment_service.actions.webhook_keys import WebhookKeys
from deployment_service.api.admin_service import AdminService
from deployment_service.api.auth import Auth, Keys
from deployment_service.api.connections import ConnectionLimiter
from deployment_service.api.deployment_service import Dependencies, DeploymentService
from deployment_service.api.event_messages import to_bytes
from deployment_service.api.gateway_service import GatewayService
from deployment_service.api.interceptors import Metrics
from deployment_service.api.peers import PeerLimits, PeerSettings
from deployment_service.api.pool_metrics import PoolMetrics
from deployment_service.api.rates import CallRates
from deployment_service.api.setup import Health, make_server
from deployment_service.api.snapshots import DeploymentSnapshots
from deployment_service.api.watch_metrics import WatchMetrics
from deployment_service.cicd.address import ControllerAddress
from deployment_service.cicd.jenkins.json import AnswerBudgets
from deployment_service.cicd.jenkins.provider import JenkinsProvider
from deployment_service.cicd.port import CicdProvider
from deployment_service.config import Settings
from deployment_service.failpoints import Failpoints
from deployment_service.runtime.metrics_server import MetricsServer, host_port
from deployment_service.storage.database.pool import API_ROLE, WORKER_ROLE, Database
from deployment_service.storage.database.sessions import connect_listener
from deployment_service.storage.events.event_log import EventLog
from deployment_service.storage.row_signals import RowSignals
from deployment_service.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    deployment_service_pb2,
    deployment_service_pb2_grpc,
    gateway_service_pb2,
    gateway_service_pb2_grpc,
)
from deployment_service.watch.hub import WatchHub
from deployment_service.watch.settings import WatchSettings
from deployment_service.workers.controllers.controllers import Controllers
from deployment_service.workers.controllers.finder import ControllerFinder
from deployment_service.workers.controllers.origin_budget import OriginBudget
from deployment_service.workers.dispatcher.dispatcher import Dispatcher
from deployment_service.workers.dispatcher.settings import DispatcherSettings
from deployment_service.workers.job_provisioner.comparer import JobComparer, JobComparerSettings
from deployment_service.workers.job_provisioner.provisioner import (
    JobProvisioner,
    JobProvisionerSettings,
)
from deployment_service.workers.reconciler.confirmer import Confirmer, ConfirmerSettings
from deployment_service.workers.reconciler.detection import Detection
from deployment_service.workers.reconciler.reconciler import Reconciler
from deployment_service.workers.reconciler.settings import ReconcilerSettings
from deployment_service.workers.reconciler.unsettled import UnsettledRuns
from deployment_service.workers.retention import Retention, RetentionSettings

_DAY_S = 86_400.0

SERVICE_NAMES = tuple(
    service.full_name
    for module in (deployment_service_pb2, gateway_service_pb2, admin_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)


class Service:
    """One replica. ``start`` it, then it is at ``target``; ``stop`` it."""

    def __init__(
        self,
        settings: Settings,
        api: Database,
        worker: Database,
        watch: Database,
        points: Failpoints | None = None,
    ) -> None:
        self._settings = settings
        self._failpoints = points
        self._api = api
        self._worker = worker
        # Of its own: however busy the workers are, no poll waits for a connection.
        self._watch = watch
        self._box = settings.secret_box()
        self._webhook_keys = WebhookKeys(self._box)
        self._signals = RowSignals()
        self._metrics = Metrics()
        self._metrics_server = MetricsServer(settings.metrics_listen, self._metrics.registry)
        self._hub = self._make_hub()
        self._metrics.registry.register(WatchMetrics(self._hub))
        self._allowed_origins = AllowedOrigins(worker, settings.allowed_origins)
        self._answers = AnswerBudgets()
        self._controllers = Controllers(
            self._make_client,
            self._box.decrypt,
            allows=self._allowed_origins.allows,
            budget=OriginBudget(
                worker,
                requests_per_second=settings.requests_per_second_per_origin,
                registry=self._metrics.registry,
            ),
        )
        self._job_provisioner = JobProvisioner(
            worker,
            self._controllers,
            self._webhook_keys,
            self._signals,
            committed=self._hub.notify,
            settings=JobProvisionerSettings(
                locale=settings.webhook_locale,
                quarantine_s=settings.quarantine_s,
                lease_s=1.5 * settings.lease_s,  # an attempt takes more requests than a trigger
            ),
        )
        self._comparer = JobComparer(
            worker,
            self._controllers,
            self._webhook_keys,
            committed=self._hub.notify,
            settings=JobComparerSettings(
                locale=settings.webhook_locale, every_s=settings.compare_interval_s
            ),
        )
        find_controller = ControllerFinder(worker, self._controllers)
        self._dispatcher = Dispatcher(
            worker,
            find_controller,
            self._box,
            committed=self._hub.notify,
            settled=self._signals.notify,
            settings=DispatcherSettings(
                request_timeout_s=settings.request_timeout_s,
                send_within_s=settings.send_within_s,
                quarantine_s=settings.quarantine_s,
                probe_interval_s=settings.probe_interval_s,
                lease_s=settings.lease_s,
            ),
        )
        self._reconciler = Reconciler(
            worker,
            find_controller,
            committed=self._hub.notify,
            settings=ReconcilerSettings(
                read_interval_s=settings.read_interval_s,
                polling_interval_s=settings.polling_interval_s,
                lost_after_s=settings.lost_after_s,
                probe_interval_s=settings.probe_interval_s,
                lease_s=min(settings.lease_s, 10.0),  # a cycle renews it, so it may be short
            ),
            detection=Detection(
                read_interval_s=settings.read_interval_s,
                polling_interval_s=settings.polling_interval_s,
                request_timeout_s=settings.request_timeout_s,
                registry=self._metrics.registry,
            ),
        )
        self._confirmer = Confirmer(
            worker,
            find_controller,
            committed=self._hub.notify,
            settings=ConfirmerSettings(),
        )
        self._retention = Retention(
            worker,
            RetentionSettings(
                event_age_s=settings.event_retention_days * _DAY_S,
                delivery_age_s=settings.delivery_retention_days * _DAY_S,
            ),
        )
        peers = PeerLimits(
            PeerSettings(
                max_calls=settings.max_calls_per_address,
                failed_key_delay_s=settings.failed_key_delay_s,
                trusted_proxies=settings.trusted_proxies,
            )
        )
        self._connections = ConnectionLimiter(
            settings.max_connections_per_address, settings.trusted_proxies
        )
        self._keys = Keys(api, peers, settings.key_cache_s)
        self._health = Health((api, worker, watch), SERVICE_NAMES)
        self._metrics.registry.register(PoolMetrics(self._health))
        self._server = make_server(
            Auth(self._keys, api, peers, CallRates(settings.calls_per_second_per_tenant)),
            self._metrics,
            peers,
            call_timeout_s=settings.call_timeout_s,
            max_connections=settings.max_connections,
            connection_age_s=settings.max_connection_age_s,
            connection_age_grace_s=settings.max_connection_age_grace_s,
        )
        self._workers = (
            self._job_provisioner,
            self._comparer,
            self._dispatcher,
            self._reconciler,
            self._confirmer,
            self._retention,
            UnsettledRuns(worker, self._metrics.registry),
        )
        self._register()
        self.target = ""

    @classmethod
    async def open(cls, settings: Settings) -> Service:
        """Create a replica with its pools. While the database is unavailable, each call waits for it."""
        url = settings.database_url.get_secret_value()
        pools = (
            ("api", API_ROLE, settings.api_pool_connections),
            ("worker", WORKER_ROLE, settings.worker_pool_connections),
            ("watch", WORKER_ROLE, settings.watch_pool_connections),
        )
        points = failpoints.enabled(settings.failpoints)
        database_class = points.database_class() if points else Database
        api, worker, watch = [
            await database_class.open(
                url,
                role=role,
                max_connections=connections,
                statement_timeout_s=settings.statement_timeout_s,
                name=name,
            )
            for name, role, connections in pools
        ]
        return cls(settings, api, worker, watch, points)

    async def start(self) -> None:
        """Begin to serve. Raises OSError if the address can't be listened on."""
        host, port = host_port(self._settings.listen)
        shown = f"[{host}]" if ":" in host else host
        await self._health.start(self._server)
        try:
            port = self._server.add_insecure_port(f"{shown}:{port}")
        except RuntimeError:
            raise OSError(f"can't listen on {self._settings.listen}: is it in use?") from None
        self._metrics_server.start()
        await self._hub.start()
        await self._keys.start()
        await self._connections.start(port)
        for worker in self._workers:
            await worker.start()
        await self._server.start()
        self.target = f"{shown}:{port}"

    async def stop(self) -> None:
        """Stop gracefully: work in progress ends, or another replica continues it."""
        grace_s = self._settings.drain_grace_s
        await self._health.shut_down()
        # Nothing new is let in from here on; streams end with a bookmark, calls have the same time to finish.
        await asyncio.gather(self._server.stop(grace_s), self._hub.stop(grace_s))
        await asyncio.gather(*(worker.stop() for worker in self._workers))
        await self._keys.stop()
        await self._connections.stop()
        await self._controllers.close()
        await self._metrics_server.stop()
        await asyncio.gather(*(one.close() for one in (self._api, self._worker, self._watch)))

    def _make_hub(self) -> WatchHub:
        settings = self._settings
        return WatchHub(
            EventLog(self._watch),
            DeploymentSnapshots(self._api),
            to_bytes,
            connect_listener=connect_listener(settings.direct_url()),
            settings=WatchSettings(streams_per_tenant=settings.max_watches_per_tenant),
        )

    def _register(self) -> None:
        settings = self._settings
        parts = Dependencies(
            database=self._api,
            hub=self._hub,
            signals=self._signals,
            webhook_keys=self._webhook_keys,
            run_starter=RunStarter(
                self._api,
                self._signals,
                self._box,
                committed=self._hub.notify,
                wake_dispatcher=self._dispatcher.wake,
                wait_s=settings.trigger_wait_s,
                trigger_deadline_s=settings.trigger_deadline_s,
                max_active_runs=settings.max_active_runs_per_tenant,
            ),
            run_canceller=RunCanceller(
                self._api,
                self._signals,
                committed=self._hub.notify,
                wake_reconciler=self._reconciler.wake,
                wait_s=settings.trigger_wait_s,
            ),
            wake_provisioner=self._job_provisioner.wake,
            allowed_origins=self._allowed_origins,
            locale=settings.webhook_locale,
            wait_s=settings.trigger_wait_s,
            keep_deleted_s=settings.deleted_retention_days * _DAY_S,
            allow_config_xml=settings.allow_config_xml,
        )
        reports = ReportBuilds(
            self._worker,
            committed=self._hub.notify,
            reported=self._confirmer.wake,
            refresh_requested=self._reconciler.wake,
        )
        deployment_service_pb2_grpc.add_DeploymentServiceServicer_to_server(
            DeploymentService(parts), self._server
        )
        gateway_service_pb2_grpc.add_GatewayServiceServicer_to_server(
            GatewayService(self._api, self._webhook_keys, reports), self._server
        )
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(
            AdminService(
                self._api,
                self._box,
                self._allowed_origins,
                ProviderChecker(self._make_client, locale=settings.webhook_locale),
                locale=settings.webhook_locale,
                wake_provisioner=self._job_provisioner.wake,
            ),
            self._server,
        )

    def _make_client(self, address: ControllerAddress) -> CicdProvider:
        client = JenkinsProvider(
            address.base_url,
            address.username,
            address.api_token,
            ca_pem=address.ca_certificate_pem or None,
            public_only=not address.private_allowed,
            timeout_s=self._settings.request_timeout_s,
            answers=self._answers.of(address.tenant_id) if address.tenant_id else None,
        )
        return self._failpoints.provider(client) if self._failpoints else client
