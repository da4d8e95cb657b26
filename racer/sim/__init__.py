"""Racing simulation: airframes, dynamics, wind, tracks and the vectorised environment."""
