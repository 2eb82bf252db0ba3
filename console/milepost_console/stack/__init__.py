"""Access to a deployed stack with the caller's AWS credentials: finding, reading, controlling and serving it."""
