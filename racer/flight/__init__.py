"""Flying a vehicle safely: the controller's state machine and its MAVSDK adapter."""
