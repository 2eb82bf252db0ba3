"""A deployed stack, seen from outside: found, read, steered and served with the caller's own AWS credentials."""
