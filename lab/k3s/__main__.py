"""`python -m lab.k3s`, what the launcher runs."""

from lab.k3s.cli import main

if __name__ == "__main__":
    main()
