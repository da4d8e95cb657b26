"""Pictures of a flight: the simulated cameras."""
