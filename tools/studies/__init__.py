"""What ``tools/unconstrained.py`` shows, one section a module.

Each has ``run(options) -> dict`` (numbers that JSON can hold) and ``text(result) -> str`` (tables);
some have ``draw(result) -> Figure``.
"""
