"""What the interpreter of PyFlink gets; its path leads here, and nothing else of the package."""
