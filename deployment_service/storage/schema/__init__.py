"""The schema: its revisions, migrating, and what must hold before."""
