"""``python -m robreport`` is the command ``robreport``."""

from robreport.cli import main

if __name__ == "__main__":
    main()
