"""``python -m outgrad.cli`` is the same as ``outgrad``."""

from outgrad.cli import main

if __name__ == "__main__":
    main(prog_name="outgrad")
