"""How the numbers are computed: arrays -> numbers, and the report.

Of its modules only ``metrics`` (the adapters) imports MMEngine, so this imports none of them.
"""
