"""Sealed files in memory, whose passphrase costs next to nothing."""

import io

from federation.model.clocks import SystemEntropy
from node.backup.sealed import NODE, Cost, SealedFile, SealedWriter

CHEAP = Cost(8192, 1, 1)
PASSPHRASE = "tiny paper boats"


def sealed(
    content: bytes, *, passphrase: str = PASSPHRASE, kind: int = NODE, cost: Cost = CHEAP
) -> bytes:
    out = io.BytesIO()
    writer = SealedWriter(out, passphrase, kind, len(content), entropy=SystemEntropy(), cost=cost)
    for start in range(0, len(content), 50_000):
        writer.write(content[start : start + 50_000])
    writer.close()
    return out.getvalue()


def unsealed(data: bytes, passphrase: str = PASSPHRASE, *, kind: int = NODE) -> bytes:
    file = SealedFile.look(io.BytesIO(data), "it", kind)
    reader = file.open(passphrase)
    content = reader.take(file.length)
    reader.expect_end()
    return content
