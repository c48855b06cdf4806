"""`python -m tmaseg`."""

from tmaseg.cli import main

if __name__ == "__main__":
    main()
