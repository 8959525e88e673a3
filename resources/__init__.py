"""This deployment's bindings: which servers, which accounts; no logic."""
