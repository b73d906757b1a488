"""The story of an end: read Jenkins until each run is settled."""
