"""`python -m hltm`."""

import os
import sys

if __name__ == "__main__":
    try:
        from hltm.cli import main

        main()
    except KeyboardInterrupt:  # before the command begins, which says so itself
        sys.stderr.write("interrupted\n")
        os._exit(130)  # an interrupted import may make the interpreter end by the signal instead
