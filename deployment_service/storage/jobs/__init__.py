"""Statements on cicd_jobs."""
