"""Durable work in child processes: what slices hand over, and what trainings share with it."""
