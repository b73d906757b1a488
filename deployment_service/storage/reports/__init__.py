"""Statements on reports of builds: those that wait for a read, those without a run."""
