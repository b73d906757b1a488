"""Tokens and signatures of webhooks: the service issues them, the gateway verifies them, deployctl prints them."""
