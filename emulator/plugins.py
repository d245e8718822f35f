"""The parts a user may bring, all found the same way: by name, in a file as ``file.py:Name``, or as a Python object."""

import copy
import hashlib
import inspect
import pickle
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import cloudpickle

from prefine.emulator import loading
from prefine.emulator.complaints import unknown_key
from prefine.emulator.dependencies import Sources, sources_of_module
from prefine.emulator.errors import InputError, PolicyError, PrefineError
from prefine.emulator.loading import foreign, own_file, own_modules
from prefine.emulator.section import named
from prefine.emulator.types import Observation, Policy, Problem, RehearsingPolicy, Workload, own_copy


class Kind(NamedTuple):
    """A kind of part: what it is called, the entry-point group that has its names, and a method that each must have."""

    noun: str
    group: str
    method: str = ""


POLICY = Kind("policy", "prefine.policies", "plan")
SELECTION = Kind("selection", "prefine.selections", "over")
WORKLOAD = Kind("workload", "prefine.workloads")
CHANNEL = Kind("channel", "prefine.channels")
"""The members of both are checked when they are made: an attribute may be set by the constructor."""

SELECTION_KEYS = ("selection", "selection_parameters")
"""Parameters that every policy has, unless it has its own of that name: who takes part, whatever it plans."""


@dataclass(frozen=True)
class Part:
    """One part as it was asked for: by ``name``, or as the class or instance ``given`` from Python.

    ``label`` is its name in tables. ``identity`` tells it from every other part and from edited versions of itself: it
    covers the source file of its class, every file that this imports from outside the installed packages, and of an
    object from Python the attributes. Where an object has no source file (one typed into a notebook), the identity
    holds for this process only; then, and where its files may import others that cannot be known, ``lasting`` is false.

    Parts can be pickled; an object from Python goes along by value (cloudpickle).
    """

    kind: Kind
    name: str
    label: str
    identity: str
    lasting: bool = True
    given: Any = field(default=None, compare=False)

    @property
    def found(self) -> Any:
        """The class behind the name, or the object given.

        Raises InputError where there is none, PrefineError where its files have changed since it was asked for.
        """
        if self.given is not None:
            return self.given
        found = find(self.kind, self.name)
        if sources_of(self.name, found).digest() != self.identity:
            raise PrefineError(f"{self.kind.noun} {self.name}: has changed since the command was started; run it again")
        return found

    @property
    def modules(self) -> tuple[str, ...]:
        """What is imported wherever it is made: of ours, and none where it is somebody else's."""
        return own_modules(self.name, self.kind.group) if self.given is None else ()

    def __reduce__(self) -> tuple[Any, ...]:
        given = None if self.given is None else cloudpickle.dumps(self.given)
        return _received, (self.kind, self.name, self.label, self.identity, self.lasting, given)

    def require_portable(self) -> None:
        """Raises InputError where the object given cannot be sent to another process."""
        try:
            cloudpickle.dumps(self.given)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{self.kind.noun} {self.label}: cannot be sent to other processes ({reason}); use jobs=1"
            ) from error


def _received(kind: Kind, name: str, label: str, identity: str, lasting: bool, given: bytes | None) -> Part:
    # Written by Part.__reduce__ of the process that started this one, never read from a file.
    made = None if given is None else cloudpickle.loads(given)
    return Part(kind, name, label, identity, lasting, made)


def part(kind: Kind, asked: object, label: str | None = None) -> Part:
    """What was ``asked`` for, a name or ``file.py:Name`` or an object, as a part; ``label`` replaces its own.

    Raises InputError where the name is unknown, or what it names cannot be a part of this ``kind``.
    """
    if isinstance(asked, Part):
        return asked
    if isinstance(asked, str):
        sources = sources_of(asked, find(kind, asked))
        return Part(kind, asked, label or label_of(asked), sources.digest(), not sources.is_open)
    _check_method(kind, asked, f"{kind.noun} {asked!r}")
    made = asked if inspect.isclass(asked) else type(asked)
    label = label or made.__name__
    try:
        sources = sources_of("", made)
        lasting = "<locals>" not in made.__qualname__ and not sources.is_open
        state = b"" if inspect.isclass(asked) else cloudpickle.dumps(asked.__getstate__())
        identity = _digest(sources.digest().encode(), made.__qualname__.encode(), state)
    except Exception:  # noqa: BLE001  # no source file, or attributes of any kind that cannot be pickled
        lasting, identity = False, ""
    return Part(kind, label, label, identity if lasting else uuid.uuid4().hex, lasting, asked)


def policy_parts(policies: object) -> list[Part]:
    """The policies asked for: one or several names, classes or instances, or a mapping from labels to them.

    Names may stand in one text, by comma, as on the command line.

    Raises InputError where there is none, or one is unknown or no policy.
    """
    if isinstance(policies, Mapping):
        parts = [part(POLICY, asked, _label(label)) for label, asked in policies.items()]
    elif isinstance(policies, str):
        parts = [part(POLICY, asked.strip()) for asked in policies.split(",") if asked.strip()]
    elif isinstance(policies, Iterable) and not inspect.isclass(policies) and not hasattr(policies, POLICY.method):
        parts = [part(POLICY, asked) for asked in policies]
    else:
        parts = [part(POLICY, policies)]
    if not parts:
        raise InputError("policies: at least one is needed")
    return list(dict.fromkeys(parts))


def _label(label: object) -> str:
    try:
        return named(str(label))
    except ValueError as error:
        raise InputError(f"policies: label {str(label)!r} {error}") from None


def find(kind: Kind, name: str, folder: Path = Path()) -> type:
    """The class behind an installed part's name, or behind ``path/to/file.py:Name``, from ``folder``.

    Raises InputError where there is none, or it lacks the method of its ``kind``.
    """
    found = loading.find(name, kind.group, kind.noun, folder)
    if not inspect.isclass(found):
        raise InputError(f"{kind.noun} {name}: must be a class, not {type(found).__name__}")
    _check_method(kind, found, f"{kind.noun} {name}: {found.__name__}")
    return found


def label_of(name: str) -> str:
    """The policy's name as tables show it; one in a user's own file goes by its class."""
    return name.rpartition(":")[2] if own_file(name) else name


def make_policy(asked: str | Part, parameters: Mapping[str, Any]) -> Policy:
    """A fresh policy with its ``[policies.NAME]`` parameters; of an instance from Python, a copy.

    Raises InputError where name or parameters are wrong, PolicyError where its constructor fails.
    """
    wanted = part(POLICY, asked)
    made = wanted.found
    is_made = wanted.given is not None and not inspect.isclass(made)
    known = {} if is_made else parameters_of(made)
    place = f"policies.{wanted.name}"
    own = {key: value for key, value in parameters.items() if key in known or key not in SELECTION_KEYS}
    _check_keys(place, own, known)
    with foreign(f"policy {wanted.name}:", "when it was made", PolicyError):
        policy: Policy = copy.deepcopy(made) if is_made else made(**own)
    return _selected(policy, place, {key: value for key, value in parameters.items() if key not in own})


def selection_of(parameters: Mapping[str, Any]) -> Part | None:
    """The selection rule in a policy's parameters, if there is one. Raises InputError where it is unknown."""
    name = parameters.get("selection")
    return part(SELECTION, name) if isinstance(name, str) else None


def _selected(policy: Policy, place: str, given: Mapping[str, Any]) -> Policy:
    """``policy`` with the selection rule that ``given`` names on top, or as it is."""
    if not given:
        return policy
    name, parameters = given.get("selection"), given.get("selection_parameters", {})
    if not isinstance(name, str):
        raise InputError(f"{place}.selection: must be the name of a selection rule, or path/to/file.py:Name")
    if not isinstance(parameters, Mapping):
        raise InputError(f"{place}.selection_parameters: must be a table, not {parameters!r}")
    made = find(SELECTION, name)
    _check_keys(f"{place}.selection_parameters", parameters, parameters_of(made))
    with foreign(f"selection {name}:", "when it was made", PolicyError):
        selected: Policy = made(**parameters).over(policy)
    return selected


def _check_keys(place: str, parameters: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for key in parameters:
        if key not in known:
            raise InputError(unknown_key(f"{place}.{key}", known))


def make_workload(asked: str | Part, folder: Path, **parameters: Any) -> Workload:
    """The workload asked for, made for a scenario; an instance from Python as it is.

    A name may be ``path/to/file.py:Class``, from ``folder``. ``parameters`` are ``task``, ``training``, ``devices`` and
    ``seed`` of `prefine.models.workload.Workload`. Raises InputError where the workload, its data or its settings are
    wrong.
    """
    name, made = (asked, find(WORKLOAD, asked, folder)) if isinstance(asked, str) else (asked.name, asked.found)
    is_class = inspect.isclass(made)
    build: Any = made
    with foreign(f"workload {name}:", "when it was made"):
        try:
            workload: Workload = build(folder=folder, **parameters) if is_class else build
        except (ValueError, OSError) as error:
            raise InputError(f"task: {error}") from error
    for member in vars(Workload):
        if not member.startswith("_") and inspect.getattr_static(workload, member, None) is None:
            raise InputError(f"workload {name}: {type(workload).__name__} has no {member}")
    return workload


def parameters_of(policy: Callable[..., object]) -> dict[str, Any]:
    """Names and defaults of a policy's parameters."""
    if is_dataclass(policy):
        return {
            each.name: each.default_factory() if each.default_factory is not MISSING else each.default
            for each in fields(policy)
            if each.init
        }
    signature = inspect.signature(policy)
    return {name: parameter.default for name, parameter in signature.parameters.items()}


def rehearses(policy: object) -> TypeGuard[RehearsingPolicy]:
    """Whether ``policy`` wants to try plans out before it decides."""
    return bool(getattr(policy, "rehearses", False))


def calling(
    name: str, method: str, argument: Problem | Observation, policy: Policy | RehearsingPolicy, *further: object
) -> Any:
    """Call a policy's method with a copy of ``argument`` of its own; whatever it throws becomes one line that names it.

    ``further`` arguments are handed on as they are. Raises PolicyError also where the policy has changed what it was
    given.
    """
    given = own_copy(argument)
    before = pickle.dumps(given)
    with foreign(f"policy {name}:", f"in {method}()", PolicyError):
        answer = getattr(policy, method)(given, *further)
    if pickle.dumps(given) != before:
        raise PolicyError(f"policy {name}: {method}() has changed the {type(argument).__name__.lower()} it was given")
    return answer


def _check_method(kind: Kind, found: object, who: str) -> None:
    if kind.method and not callable(getattr(found, kind.method, None)):
        raise InputError(f"{who} has no method {kind.method}, so it is no {kind.noun}")


def sources_of(name: str, found: Any) -> Sources:
    """The files that ``found`` is written in, found as ``name`` or by importing its module.

    Raises TypeError or OSError where there are none.
    """
    if own_file(name):
        return loading.sources(name)
    return sources_of_module(found.__module__, Path(inspect.getfile(found)))


def _digest(*contents: bytes) -> str:
    return hashlib.sha256(b"\0".join(contents)).hexdigest()
