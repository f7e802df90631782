"""`python -m metastyle`: the same as the command `metastyle`."""

from metastyle.cli.main import main

if __name__ == "__main__":
    main()
