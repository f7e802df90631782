"""A run of the training loop that is asked to stop at a chosen step."""

import os
import signal

from metastyle.data.prefetch import Prefetcher
from metastyle.train import loop


def stop_at(monkeypatch, when):
    """SIGTERM reaches this process when the loop gets the batch of step `when`; None: never again."""

    class Interrupting(Prefetcher):
        def __next__(self):
            step, batch = super().__next__()
            if step == when:
                os.kill(os.getpid(), signal.SIGTERM)
            return step, batch

    monkeypatch.setattr(loop, "Prefetcher", Interrupting)
