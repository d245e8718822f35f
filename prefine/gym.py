"""Scenarios as Gymnasium environments: importing this registers ``prefine/EdgeLearning-v0``.

>>> import gymnasium, prefine.gym
>>> env = gymnasium.make("prefine/EdgeLearning-v0", scenario="default")    # doctest: +SKIP

It needs the extra ``prefine[gym]``. docs/gym.md says what is seen, decided and rewarded.
"""

try:
    import gymnasium
except ImportError as missing:
    raise ImportError("prefine.gym needs gymnasium: pip install 'prefine[gym]'") from missing

from prefine.emulator.encoding import decided, seen
from prefine.emulator.environment import EdgeLearning

__all__ = ["ENVIRONMENT", "EdgeLearning", "decided", "seen"]

ENVIRONMENT = "prefine/EdgeLearning-v0"

if ENVIRONMENT not in gymnasium.registry:
    gymnasium.register(ENVIRONMENT, entry_point="prefine.emulator.environment:EdgeLearning")
