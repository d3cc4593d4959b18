"""Who is rare: data sets, their counts, and what is drawn from them.

Imports none of its modules: the registry knows those that hold components, and what needs the
counts alone (reports, tables) does not wait for torch.
"""
