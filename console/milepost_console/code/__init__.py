"""Runs user code in its own process: `host` and `process` in the dev server, `child` and `loader` in that process."""
