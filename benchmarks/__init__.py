"""Measurements, each a ratio against a limit or a peer in the same run; see RESULTS.md."""
