"""The unconstrained-features model: features, classifier and bias as free variables.

``decays``: the three decays and what they add up to. ``unconstrained``: the objective and its
minimisation. ``bias_equation``: the bias by Theorem 3.2. ``closed_form``: the minimum itself, also
where Theorem 3.2 stops. ``imbalance``: when minority classifiers become one. ``sections``: what
``tools/unconstrained.py`` shows.

``normalized``: the model in a normalised space with a scale, its minimum and rates;
``normalized_descent``: its gradient flow; ``normalized_study``, ``normalized_report`` and
``normalized_figures``: what ``tools/normalized_space.py`` shows.
"""
