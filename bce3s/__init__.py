"""bce3s: long-tailed recognition with binary cross-entropy tripartite synergistic learning."""

__version__ = '0.1.0'
