"""Forms made from a configuration class: its titles, bounds and docstrings are the labels, limits and tooltips."""
