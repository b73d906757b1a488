"""What all processes share at their edges: settings, secrets from the environment."""
