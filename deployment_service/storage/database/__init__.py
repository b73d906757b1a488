"""Connections: pools, sessions, the address, and how their failures are told apart."""
