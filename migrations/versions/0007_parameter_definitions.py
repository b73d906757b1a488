"""Deployments define their parameters: kind, default and choices instead of a map of values.

What a deployment had becomes a STRING with its value as default, which is how its job in Jenkins defines it.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UPGRADE = (
    """
    ALTER TABLE deployments ADD COLUMN parameter_definitions jsonb NOT NULL DEFAULT '[]'
        CHECK (jsonb_typeof(parameter_definitions) = 'array')
    """,
    """
    UPDATE deployments SET parameter_definitions = (
        SELECT jsonb_agg(jsonb_build_object('name', key, 'kind', 'STRING', 'default_value', value,
            'choices', '[]'::jsonb, 'required', false, 'description', '') ORDER BY key)
        FROM jsonb_each_text(parameters))
    WHERE parameters <> '{}'
    """,
    "ALTER TABLE deployments DROP COLUMN parameters",
)
# Only what has a default fits into the map.
DOWNGRADE = (
    """
    ALTER TABLE deployments ADD COLUMN parameters jsonb NOT NULL DEFAULT '{}'
        CHECK (jsonb_typeof(parameters) = 'object')
    """,
    """
    UPDATE deployments SET parameters = coalesce((
        SELECT jsonb_object_agg(one ->> 'name', one ->> 'default_value')
        FROM jsonb_array_elements(parameter_definitions) AS one
        WHERE NOT (one -> 'required')::boolean AND one ->> 'kind' <> 'SECRET'), '{}')
    """,
    "ALTER TABLE deployments DROP COLUMN parameter_definitions",
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWNGRADE:
        op.execute(statement)
