"""From committed events to watchers: listener, tail, ring, stream."""
