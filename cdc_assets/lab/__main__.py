"""`python -m cdc_assets.lab`: the lab without the rest of the command line."""

from __future__ import annotations

from cdc_assets.lab.commands import main

if __name__ == "__main__":
    main()
