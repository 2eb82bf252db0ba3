"""User code in a process of its own, beside the dev server: `host` and `process` there, `child` and `loader` here."""
