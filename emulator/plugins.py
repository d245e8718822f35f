"""Finding policies and workloads: by entry point, or a policy class in a user's own file."""

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from prefine.emulator.errors import InputError, PolicyError, PrefineError
from prefine.emulator.types import Policy

POLICIES = "prefine.policies"
WORKLOADS = "prefine.workloads"


def policy_names() -> tuple[str, ...]:
    """Installed policies, alphabetically."""
    return tuple(sorted({entry.name for entry in entry_points(group=POLICIES)}))


def policy_class(name: str) -> type:
    """The class behind a policy's name, or behind ``path/to/file.py:ClassName``.

    Raises InputError where there is none.
    """
    if ".py:" in name:
        path, _, class_name = name.rpartition(":")
        found = getattr(_module(Path(path)), class_name, None)
        if not inspect.isclass(found):
            raise InputError(f"policy {name}: {path} has no class {class_name}")
    else:
        found = _load(POLICIES, name, "policy", policy_names())
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
        raise PolicyError(f"policy {name}: {_said(error)} when it was made") from error
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
    return Path(inspect.getfile(policy_class(name))).read_bytes()


def make_workload(name: str, **parameters: Any) -> Any:
    """The installed workload ``name``. Raises InputError where it, its data or parameters are wrong."""
    workload = _load(WORKLOADS, name, "workload", tuple(entry.name for entry in entry_points(group=WORKLOADS)))
    try:
        return workload(**parameters)
    except (ValueError, OSError) as error:
        raise InputError(f"task: {error}") from error


def calling(name: str, method: str, argument: object, policy: Policy) -> Any:
    """Call a policy's method; whatever a plug-in throws becomes one line that names it."""
    try:
        return getattr(policy, method)(argument)
    except PrefineError:
        raise
    except Exception as error:
        raise PolicyError(f"policy {name}: {_said(error)} in {method}()") from error


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"raised {type(error).__name__}" + (f": {text}" if text else "")


def _load(group: str, name: str, noun: str, names: tuple[str, ...]) -> Any:
    found: tuple[EntryPoint, ...] = tuple(entry_points(group=group, name=name))
    if not names:
        raise InputError(f"no {noun} is installed; install the project first: pip install -e .")
    if not found:
        raise InputError(f"{noun} {name!r} is unknown, allowed: {', '.join(names)}")
    try:
        return found[0].load()
    except (ImportError, AttributeError) as error:
        raise InputError(f"{noun} {name!r} cannot be loaded: {error}") from error


def _module(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"policy file {path}: not found")
    edition = hashlib.sha256(path.read_bytes()).hexdigest()[:16]  # an edited file is another module
    name = f"prefine_plugin_{path.resolve().as_posix().replace('/', '_').removesuffix('.py')}_{edition}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"policy file {path}: is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise PolicyError(f"policy file {path}: {_said(error)} when it was read") from error
    return module
