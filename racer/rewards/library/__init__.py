"""What a reward function may call: Python's own functions, math and the harmless part of numpy."""
