"""Environment: read a resource's EnvVars when they are needed, and name what is unset."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import dagster as dg
from pydantic import ValidationError

from cdc_assets.errors import ConfigurationError

R = TypeVar("R", bound=dg.ConfigurableResource[Any])

# The class of `EnvVar.int(...)` has no public name.
_IntEnvVar: type[int] = type(dg.EnvVar.int("NAME"))


def resolved(resource: R, *, environ: Mapping[str, str] | None = None) -> R:
    """Return a copy of a resource with each EnvVar replaced by its value.

    Dagster resolves them, too, but answers an unset one with a trace of its own config
    system. A setting that may be None takes None where its variable is unset.

    Args:
        resource: As it was written in the deployment.
        environ: The process's environment without it.

    Raises:
        ConfigurationError: Names every variable that is unset, or the field that is wrong.
    """
    found = os.environ if environ is None else environ
    values: dict[str, object] = {}
    unset: list[str] = []
    for name, field in type(resource).model_fields.items():
        value: object = getattr(resource, name)
        variable = _variable(value)
        if variable is None:
            values[name] = value
        elif found.get(variable):
            values[name] = _number(variable, found[variable]) if _is_int(value) else found[variable]
        elif field.is_required():
            unset.append(variable)
        else:
            values[name] = field.default
    if unset:
        names = ", ".join(unset)
        raise ConfigurationError(
            f"environment variable{'s' if len(unset) > 1 else ''} {names} not set",
            field=type(resource).__name__,
            hint="Set it where Dagster runs" if len(unset) == 1 else "Set them where Dagster runs",
        )
    return _checked(type(resource), values)


def with_values(resource: R, **values: object) -> R:
    """Return a copy of a resolved resource with other values.

    Args:
        resource: Without EnvVars.
        values: By field.
    """
    fields = type(resource).model_fields
    return _checked(type(resource), {name: getattr(resource, name) for name in fields} | values)


def _variable(value: object) -> str | None:
    if isinstance(value, dg.EnvVar):
        return value.env_var_name
    if _is_int(value):
        return str(value.name)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType] - no public class
    return None


def _is_int(value: object) -> bool:
    return isinstance(value, _IntEnvVar)


def _number(variable: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError("is not a whole number", field=variable, value=text) from None


def _checked(kind: type[R], values: Mapping[str, object]) -> R:
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        # The value itself is left out: it may be a secret.
        raise ConfigurationError(first["msg"], field=f"{kind.__name__}.{name}") from None
