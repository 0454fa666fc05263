"""Classes of transformers, imported when the first of them is needed.

Importing an encoder takes seconds of a core, which a process that trains and annotates nothing need
not spend: a dry run, an actor that reads, a step that derives one artifact from others.
"""

import threading
from typing import Any

_IMPORTING = threading.Lock()
"""Its modules import each other in circles: two threads that begin at different ones would be given
each other's half-imported modules."""


def stock(name: str) -> Any:
    """A class of transformers, or another of its names; it shows no progress bars from then on."""
    with _IMPORTING:
        import transformers

        if name.startswith("AutoModel"):
            import transformers.modeling_utils
        transformers.logging.disable_progress_bar()
        return getattr(transformers, name)
