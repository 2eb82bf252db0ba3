"""The HTTP server: events, the protocol's endpoints, the JSON API and its stream."""
