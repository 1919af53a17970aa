"""The commands, one module each: `add_arguments(parser)` and `run(args) -> int`. Floor: 7.

Takes: parsed arguments. Gives: files, text on the terminal and an exit code.
"""
