"""`python -m hosthold.cli`: the command line where its script is not on the path."""

from hosthold.cli.main import main

main()
