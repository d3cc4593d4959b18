"""Studies of the theory, shown by ``tools/unconstrained.py`` and ``tools/normalized_space.py``."""
