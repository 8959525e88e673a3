"""One verb per module: what a stream does, through the ports only."""
