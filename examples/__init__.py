"""Examples, each a program of its own: `python -m examples.two_processes`."""
