"""MySQL and MariaDB servers: identity, binlogs, preflight, counts."""
