"""Flights as they were recorded: whose they are."""
