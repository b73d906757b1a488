"""The only door that Jenkins can reach: verifies, parses, hands on. Keeps no state."""
