"""Statements on deployments."""
