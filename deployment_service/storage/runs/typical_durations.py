"""How long the runs of a deployment take: stored with the deployment, so that lists need no further query."""

from __future__ import annotations

# Of the deployment `d`: the median of what was started here among the last 20 settled COMPLETED runs, in the order of
# the index deployment_runs_completed. From the acceptance by Jenkins to the end, both by the database's clock.
TYPICAL_DURATION = """
    SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY greatest(last.end_time - last.start_time, interval '0'))
        FILTER (WHERE last.source = 'SERVICE' AND last.start_time IS NOT NULL)
    FROM (
        SELECT r.source, r.start_time, r.end_time FROM deployment_runs AS r
        -- Equality, in a form whose rows the planner does not take for few: it would read and sort all of them.
        WHERE (r.tenant_id, r.deployment_id) >= (d.tenant_id, d.deployment_id)
            AND (r.tenant_id, r.deployment_id) <= (d.tenant_id, d.deployment_id)
            AND r.status = 'COMPLETED' AND r.settle_time IS NOT NULL
        ORDER BY r.tenant_id DESC, r.deployment_id DESC, r.order_generation DESC, r.order_position DESC, r.number DESC
        LIMIT 20
    ) AS last
"""
