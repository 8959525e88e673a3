"""SMT: configuration files of the StarRocks Migration Tool, and the files that come of them."""
