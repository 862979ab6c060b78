"""``python -m sdlearn`` is the command ``sdlearn``."""

from sdlearn.cli import entry

if __name__ == "__main__":
    entry()
