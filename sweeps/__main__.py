"""`python -m sweeps`: the command `sweeps`, for places where the package travelled without its script."""

from sweeps.cli import main

main()
