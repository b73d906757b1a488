"""PostgreSQL: the pool, the SQL of each aggregate, row mapping."""
