"""The provider port and its Jenkins implementation."""
