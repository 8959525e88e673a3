"""Dagster Pipes for the one process of its own that a stream needs: its PyFlink script.

`PipesSubprocessClient` is not used: it waits without a limit, hands on Dagster's whole
environment with every password in it, and gives the process no standard input.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TypeAlias

import dagster as dg

from cdc_assets.flink.script_process import ScriptCommand, ScriptEnd, run_script

RunContext: TypeAlias = dg.OpExecutionContext | dg.AssetExecutionContext

_context: ContextVar[RunContext | None] = ContextVar("cdc_assets_run", default=None)


@contextmanager
def in_run(context: RunContext) -> Generator[None]:
    """Let scripts that are run inside of the block talk to this Dagster run.

    Args:
        context: Of the run's step.
    """
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)


def run_with_pipes(command: ScriptCommand, *, budget_seconds: float) -> ScriptEnd:
    """Run a script; inside of a Dagster run through Dagster Pipes, else plainly.

    The Pipes context (run, step, asset) travels in the environment, messages in a temporary
    file. Neither holds what the order holds.

    Args:
        command: What is run.
        budget_seconds: After so long it is killed.

    Raises:
        ConfigurationError: The interpreter cannot be started.
    """
    context = _context.get()
    if context is None:
        return run_script(command, budget_seconds=budget_seconds)
    with ExitStack() as stack:
        with warnings.catch_warnings():
            # Pipes uses parts of Dagster that Dagster calls deprecated or in preview.
            warnings.simplefilter("ignore")
            session = stack.enter_context(
                dg.open_pipes_session(
                    context=context,
                    context_injector=dg.PipesEnvContextInjector(),
                    message_reader=dg.PipesTempFileMessageReader(),
                )
            )
        variables = {**command.environment, **session.get_bootstrap_env_vars()}
        end = run_script(replace(command, environment=variables), budget_seconds=budget_seconds)
    for said in session.get_custom_messages():
        context.log.info("PyFlink: %s", said)
    return end
