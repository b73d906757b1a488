"""Counts of unsettled runs of all tenants, by the reason that prevents settling."""

from __future__ import annotations

from deployment_service.storage.database.pool import Connection

# Runs without a problem that are not in Jenkins yet have no age: their trigger deadline limits the wait.
BY_REASON = """
    SELECT coalesce(r.cancel_problem_reason, j.problem_reason, p.problem_reason, 'NONE') AS reason, count(*) AS runs,
        coalesce(max(extract(epoch FROM now() - coalesce(
            least(r.cancel_problem_since, j.problem_since, p.problem_since), r.end_time,
            CASE WHEN r.trigger_state IN ('ACCEPTED', 'ENDED') THEN
                coalesce(r.last_observed_time, r.start_time, r.create_time) END))), 0)::float8 AS seconds
    FROM deployment_runs AS r
    LEFT JOIN cicd_jobs AS j ON j.tenant_id = r.tenant_id AND j.job_id = r.job_id
    LEFT JOIN cicd_providers AS p ON p.tenant_id = j.tenant_id AND p.provider_id = j.provider_id
    WHERE r.settle_time IS NULL
    GROUP BY 1
"""


async def by_reason(connection: Connection) -> dict[str, tuple[int, float]]:
    """Return the number of unsettled runs and the longest age in seconds, by reason; NONE without a problem."""
    rows = await connection.fetch(BY_REASON)
    return {row["reason"]: (row["runs"], max(row["seconds"], 0.0)) for row in rows}
