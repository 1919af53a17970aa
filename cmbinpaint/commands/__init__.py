"""The commands, one module each: `add_arguments(parser)` and `run(args) -> int`.

Inputs: parsed arguments. Outputs: files, text on the terminal and an exit code.
"""
