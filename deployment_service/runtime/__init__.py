"""Code that both processes share: logging, settings, secrets, metrics server."""
