"""The gRPC surface: translates only, decides nothing."""
