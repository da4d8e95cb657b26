"""Users and their drone models over HTTP."""
