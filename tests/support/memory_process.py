"""A process around a `MemoryNode`, for tests of signals: STATE [stop seconds] [start error]."""

import asyncio
import os
import sys
from pathlib import Path

from federation.model.clocks import SystemEntropy
from federation.model.errors import ConfigError, RingmeshError
from node.banner import JsonVoice
from node.config import Config, LogConfig
from node.logs import configure
from node.process import Identity, run
from node.state import StateFolder
from tests.support.memory_node import MemoryNode


def main() -> int:
    configure(LogConfig(format="json"))
    folder = StateFolder.open(Path(sys.argv[1]))
    hang = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    trouble = ConfigError(sys.argv[3]) if len(sys.argv) > 3 else None
    with folder.lock():
        return asyncio.run(
            run(
                Config(),
                folder,
                Identity(folder.node_key(SystemEntropy()), bytes(8)),
                lambda *_: MemoryNode(start_error=trouble, stop_seconds=hang),
                voice=JsonVoice(lambda line: print(line, flush=True)),
                on_stopping=lambda: print('"stopping"', flush=True),
                at_once=lambda: os._exit(130),
            )
        )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RingmeshError as error:
        sys.exit(str(error))
