"""Environment: read the EnvVars of resources when they are needed, and name what is unset."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import dagster as dg
from pydantic import ValidationError

from cdc_assets.errors import ConfigurationError

AnyResource: TypeAlias = dg.ConfigurableResource[Any]
R = TypeVar("R", bound=AnyResource)

# The class of `EnvVar.int(...)` has no public name.
_IntEnvVar: type[int] = type(dg.EnvVar.int("NAME"))


def require_set(resources: Sequence[AnyResource]) -> None:
    """Refuse resources that name an environment variable that is unset.

    Args:
        resources: As they were written in the deployment.

    Raises:
        ConfigurationError: Names every such variable at once.
    """
    unset = [
        variable
        for resource in resources
        for name, field in type(resource).model_fields.items()
        if (variable := _variable(getattr(resource, name))) is not None
        and field.is_required()
        and not os.environ.get(variable)
    ]
    if unset:
        names = ", ".join(dict.fromkeys(unset))
        several = len(unset) > 1
        raise ConfigurationError(
            f"environment variable{'s' if several else ''} {names} {'are' if several else 'is'} "
            "not set",
            hint=f"Set {'them' if several else 'it'} where Dagster and 'cdc-assets' run",
        )


def resolved(resource: R) -> R:
    """Return a copy of a resource with each EnvVar replaced by its value.

    Dagster resolves them, too, but answers an unset one with a trace of its own config
    system. A setting that has a default takes it where its variable is unset.

    Args:
        resource: As it was written in the deployment.

    Raises:
        ConfigurationError: A variable is unset, or its value does not fit.
    """
    return _checked(type(resource), values_of(resource))


def values_of(resource: AnyResource) -> dict[str, object]:
    """Return the settings of a resource by field, each EnvVar replaced by its value.

    Args:
        resource: As it was written in the deployment.

    Raises:
        ConfigurationError: A variable is unset, or is not the number that it should be.
    """
    require_set([resource])
    values: dict[str, object] = {}
    for name, field in type(resource).model_fields.items():
        value: object = getattr(resource, name)
        variable = _variable(value)
        if variable is None:
            values[name] = value
        elif text := os.environ.get(variable):
            values[name] = _number(variable, text) if isinstance(value, _IntEnvVar) else text
        else:
            values[name] = cast("object", field.default)
    return values


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
    if isinstance(value, _IntEnvVar):
        return str(getattr(value, "name"))  # noqa: B009 - no public class, so no known attribute
    return None


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
        owner = str(getattr(kind, "__name__", "resource"))
        # The value itself is left out: it may be a secret.
        raise ConfigurationError(first["msg"], field=f"{owner}.{name}") from None
