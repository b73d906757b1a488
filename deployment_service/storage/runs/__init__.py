"""Statements on deployment_runs and run_attempts."""
