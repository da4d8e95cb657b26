"""What `python -m racer` can do: one module a command, each with HELP, add_arguments and run.

A module imports what it works with inside `run`, so that `--help` and a wrong option are answered
at once and no command pays for another's libraries.
"""
