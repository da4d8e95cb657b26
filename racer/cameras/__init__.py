"""Video of a drone over HTTP."""
