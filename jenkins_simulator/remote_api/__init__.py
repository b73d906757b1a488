"""What `api/json` and `api/xml` show of each object."""
