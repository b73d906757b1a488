"""Knows for certain what became of every deployment."""
