"""Watching: deliver committed events to clients by listener, tail, ring and stream."""
