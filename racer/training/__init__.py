"""Trainings as a service: runs, their child processes and the live curves."""
