"""Imported in a process of this project's own, this makes Python look for garbage less often.

Libraries and figures make some hundred thousand objects that stay. To go through them all after every 700 new ones took
a tenth of a command's time. In anybody else's process that is not ours to decide.
"""

import gc

NEW_OBJECTS = 50_000

gc.set_threshold(NEW_OBJECTS)
