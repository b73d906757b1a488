"""Plugins: Notification, retry, seed jobs, publishers."""
