"""Statements on deployment_events."""
