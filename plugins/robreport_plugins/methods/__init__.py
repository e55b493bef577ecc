"""Algorithms that several families share; it registers nothing."""
