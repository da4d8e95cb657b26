"""Races: submitted policies flown by the server itself, on seeds that nobody has seen."""
