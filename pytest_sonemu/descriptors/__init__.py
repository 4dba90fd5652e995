"""Packages and descriptors: read and check them; no side effects, no I/O beyond the file given."""
