"""Fixtures for all tests live in plugins, by theme."""

pytest_plugins = ["tests.fixtures_network", "tests.fixtures_stack"]
