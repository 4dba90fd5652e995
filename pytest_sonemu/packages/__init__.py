"""Packages are tests: a package named on the command line is collected, deployed and judged."""
