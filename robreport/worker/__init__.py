"""What runs in a process of its own: load the data, probe a model, run a metric or comparison.

Each function takes plain values and returns plain values; arrays and results go through files.
"""
