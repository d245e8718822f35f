"""Policies and workloads made from what a scenario names, and called so that their errors are one line."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from prefine.emulator.errors import InputError, PolicyError, PrefineError
from prefine.emulator.loading import find, installed, own_file, said
from prefine.emulator.types import Policy, Workload

POLICIES = "prefine.policies"
WORKLOADS = "prefine.workloads"


def policy_names() -> tuple[str, ...]:
    """Installed policies, alphabetically."""
    return installed(POLICIES)


def policy_class(name: str) -> type:
    """The class behind a policy's name, or behind ``path/to/file.py:ClassName``.

    Raises InputError where there is none.
    """
    found = find(name, POLICIES, "policy")
    if not inspect.isclass(found):
        raise InputError(f"policy {name}: must be a class, not {type(found).__name__}")
    if not callable(getattr(found, "plan", None)):
        raise InputError(f"policy {name}: {found.__name__} has no method plan(problem)")
    return found


def label_of(name: str) -> str:
    """The policy's name as tables show it; one in a user's own file goes by its class."""
    return name.rpartition(":")[2] if ".py:" in name else name


def make_policy(name: str, parameters: Mapping[str, Any]) -> Policy:
    """The policy ``name`` with its ``[policies.NAME]`` parameters.

    Raises InputError where name or parameters are wrong, PolicyError where its constructor fails.
    """
    made = policy_class(name)
    known = parameters_of(made)
    for key in parameters:
        if key not in known:
            raise InputError(f"policies.{name}.{key}: unknown parameter, allowed: {', '.join(known) or 'none'}")
    try:
        policy: Policy = made(**parameters)
    except PrefineError:
        raise
    except Exception as error:
        raise PolicyError(f"policy {name}: {said(error)} when it was made") from error
    return policy


def parameters_of(policy: type) -> dict[str, Any]:
    """Names and defaults of a policy's parameters."""
    if is_dataclass(policy):
        return {
            field.name: field.default_factory() if field.default_factory is not MISSING else field.default
            for field in fields(policy)
            if field.init
        }
    signature = inspect.signature(policy)
    return {name: parameter.default for name, parameter in signature.parameters.items()}


def policy_source(name: str) -> bytes:
    """The bytes of the file a policy's class is in: they belong to a run's identity."""
    return Path(own_file(name) or inspect.getfile(policy_class(name))).read_bytes()


def make_workload(name: str, folder: Path, **parameters: Any) -> Workload:
    """The workload ``name``, or the class in ``path/to/file.py:Class`` (from ``folder``), made for a scenario.

    ``parameters`` are ``task``, ``training``, ``devices`` and ``seed`` of `prefine.models.workload.Workload`.
    Raises InputError where the workload, its data or its settings are wrong.
    """
    found = find(name, WORKLOADS, "workload", folder)
    if not callable(found):
        raise InputError(f"workload {name}: must be a class, not {type(found).__name__}")
    made: Callable[..., Workload] = found
    try:
        workload = made(folder=folder, **parameters)
    except (ValueError, OSError) as error:
        raise InputError(f"task: {error}") from error
    for part in vars(Workload):
        if not part.startswith("_") and inspect.getattr_static(workload, part, None) is None:
            raise InputError(f"workload {name}: {type(workload).__name__} has no {part}")
    return workload


def calling(name: str, method: str, argument: object, policy: Policy) -> Any:
    """Call a policy's method; whatever a plug-in throws becomes one line that names it."""
    try:
        return getattr(policy, method)(argument)
    except PrefineError:
        raise
    except Exception as error:
        raise PolicyError(f"policy {name}: {said(error)} in {method}()") from error
