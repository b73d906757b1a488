"""Connections: pools, sessions, the URL, and the classification of failures."""
