"""The embedded lab: real servers from package registries, on 127.0.0.1, without root or Docker."""

from __future__ import annotations
