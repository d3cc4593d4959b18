"""The unconstrained-features model: features, classifier and bias as free variables.

``decays``: the three decays and what they add up to. ``unconstrained``: the objective and its
minimisation. ``bias_equation``: the bias by Theorem 3.2. ``closed_form``: the minimum itself, also
where Theorem 3.2 stops. ``imbalance``: when minority classifiers become one. ``normalized``: the
model on unit spheres with a scale, its minimum and rates.

``tools/unconstrained.py`` and ``tools/normalized_space.py`` print them beside minima that are found
from random starts.
"""
