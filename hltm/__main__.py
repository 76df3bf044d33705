"""`python -m hltm`."""

from hltm.cli import main

if __name__ == "__main__":
    main()
