"""The web console at `/`."""
