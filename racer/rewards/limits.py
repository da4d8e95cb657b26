"""How large a reward function may be: what keeps checking and compiling quick for any input.

Published reward functions have 10 to 300 lines and unroll to a few thousand operations; the
limits are several times that.
"""

from __future__ import annotations

MAX_SOURCE_CHARACTERS = 65_536
MAX_LINES = 4_000
MAX_BRACKETS = 32  # nested in each other
MAX_INDENT = 100  # columns
MAX_REPEATS = 100  # of one operator that nests, in one statement; of `elif` in one chain
MAX_SYNTAX_NODES = 20_000
MAX_SYNTAX_DEPTH = 64
MAX_DIAGNOSTICS = 20

MAX_WORK = 60_000  # syntax nodes visited while loops are unrolled and calls inlined
MAX_NODES = 6_000  # operations of the compiled program
MAX_ITEMS = 1_024  # in one list, tuple or range
MAX_CALL_DEPTH = 16
MAX_ROUNDS = 40  # of looking for what is carried from step to step
MAX_INTEGER = 2**53  # beyond it a float skips whole numbers
