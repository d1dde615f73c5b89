"""`python -m retention` is the command `retention`."""

from retention.cli import main

main()
