"""`python -m metastyle.cli` is the `metastyle` command."""

from metastyle.cli.main import main

if __name__ == "__main__":
    main()
