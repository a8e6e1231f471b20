"""A node's place in the overlay, which comes out of a memory-hard puzzle.

A = Argon2id v1.3(public key || nonce, salt "ringmesh oid 1", 1 MiB, t=1, p=1, 40 B);
overlay id = SHA-256("oid1" context || A[0:32]), valid when A[32:40] begins with the network's
`puzzle_bits` zero bits. The id comes out of the puzzle and not beside it: otherwise whoever wants a
place near some key first grinds cheap keys and then solves once for each. A node solves once in its
life; checking costs about half a millisecond, so strangers' ids are checked in a thread and cached.
"""

import asyncio
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Self

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from federation.model.clocks import Entropy
from federation.model.errors import PeerError, UsageError
from federation.model.identity import NodeId
from federation.model.network import Network

OVERLAY_ID_BYTES = 32
NONCE_BYTES = 8
CACHED_IDS = 8192
"Verified or refused (key, nonce) pairs that are remembered."
MAX_WAITING = 512
"Checks that may wait for the thread; beyond, a stranger's message is dropped."
_SALT = b"ringmesh oid 1"
_MEMORY_KIB = 1024
_TAG_BYTES = 40

Offload = Callable[[Callable[[], "OverlayId"]], Awaitable["OverlayId"]]
"Runs a blocking function elsewhere and awaits what it returns or raises."


class PuzzleError(PeerError):
    """A key and nonce do not solve the network's puzzle."""


class OverlayId(bytes):
    """32 bytes: a place in the overlay's key space."""

    __slots__ = ()

    def __new__(cls, raw: bytes) -> Self:
        """Wrap 32 bytes.

        Raises:
            PuzzleError: another length.
        """
        if len(raw) != OVERLAY_ID_BYTES:
            raise PuzzleError(f"an overlay id has {OVERLAY_ID_BYTES} bytes")
        return super().__new__(cls, raw)

    @property
    def number(self) -> int:
        """The id as an unsigned big-endian integer, for distances."""
        return int.from_bytes(self, "big")

    def __repr__(self) -> str:
        return f"OverlayId({self.hex()[:8]}…)"


def overlay_id(key: NodeId, nonce: bytes, network: Network) -> OverlayId:
    """Compute the id that `key` and `nonce` give: about 0.5 ms and 1 MiB.

    Raises:
        PuzzleError: they do not solve this network's puzzle.
    """
    if len(nonce) != NONCE_BYTES:
        raise PuzzleError(f"a nonce has {NONCE_BYTES} bytes")
    tag = Argon2id(
        salt=_SALT, length=_TAG_BYTES, iterations=1, lanes=1, memory_cost=_MEMORY_KIB
    ).derive(bytes(key) + nonce)
    if network.puzzle_bits and int.from_bytes(tag[32:], "big") >> (64 - network.puzzle_bits):
        raise PuzzleError("the nonce does not solve the puzzle")
    return OverlayId(hashlib.sha256(network.context("oid1") + tag[:32]).digest())


def solve(
    key: NodeId,
    network: Network,
    *,
    entropy: Entropy,
    on_progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
    stop: threading.Event | None = None,
) -> bytes:
    """Find a nonce whose id is valid; blocks, on all cores unless `threads` says otherwise.

    `on_progress(tries, expected)` is called from the calling thread about five times a second.
    Setting `stop` ends the search; it is set when this returns.

    Raises:
        UsageError: `stop` was set before a nonce was found.
    """
    workers = max(1, threads or os.cpu_count() or 1)
    start = int.from_bytes(entropy.token(NONCE_BYTES), "big")
    halt = threading.Event() if stop is None else stop
    tries = [0] * workers
    expected = 1 << network.puzzle_bits

    def search(worker: int) -> bytes | None:
        candidate = start + worker
        while not halt.is_set():
            nonce = (candidate % (1 << 64)).to_bytes(NONCE_BYTES, "big")
            tries[worker] += 1
            try:
                overlay_id(key, nonce, network)
            except PuzzleError:
                candidate += workers
            else:
                return nonce
        return None

    with ThreadPoolExecutor(workers, thread_name_prefix="puzzle") as pool:
        waiting = {pool.submit(search, worker) for worker in range(workers)}
        found: bytes | None = None
        try:
            while waiting and found is None:
                done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                found = next((future.result() for future in done if future.result()), None)
                if on_progress is not None:
                    on_progress(sum(tries), expected)
        finally:
            halt.set()
    if found is None:
        raise UsageError("the search for a nonce was stopped")
    return found


class OverlayIdCache:
    """Checks strangers' ids off the event loop and remembers the verdicts.

    `known` answers at once from memory; `check` computes through `offload`, once for however many
    ask about the same pair meanwhile. At most `MAX_WAITING` checks wait at a time: what comes
    beyond is refused as unchecked, not buffered.
    """

    def __init__(self, network: Network, offload: Offload) -> None:
        self._network = network
        self._offload = offload
        self._verdicts: OrderedDict[tuple[bytes, bytes], OverlayId | None] = OrderedDict()
        self._checks: dict[tuple[bytes, bytes], asyncio.Task[None]] = {}

    def known(self, key: NodeId, nonce: bytes) -> OverlayId | None:
        """The id if it was checked before.

        Raises:
            PuzzleError: it was checked before and refused.
        """
        try:
            verdict = self._verdicts[(bytes(key), nonce)]
        except KeyError:
            return None
        self._verdicts.move_to_end((bytes(key), nonce))
        if verdict is None:
            raise PuzzleError("the nonce does not solve the puzzle")
        return verdict

    async def check(self, key: NodeId, nonce: bytes) -> OverlayId:
        """The id of `key` and `nonce`.

        Raises:
            PuzzleError: not a solution, or too many checks are waiting.
        """
        verdict = self.known(key, nonce)
        if verdict is not None:
            return verdict
        pair = (bytes(key), nonce)
        check = self._checks.get(pair)
        if check is None:
            if len(self._checks) >= MAX_WAITING:
                raise PuzzleError("too many ids wait to be checked")
            check = asyncio.get_running_loop().create_task(self._compute(key, nonce))
            self._checks[pair] = check
            check.add_done_callback(lambda _: self._checks.pop(pair))
        await asyncio.shield(check)
        verdict = self.known(key, nonce)
        if verdict is None:
            raise PuzzleError("the verdict was pushed out by others")
        return verdict

    async def _compute(self, key: NodeId, nonce: bytes) -> None:
        try:
            verdict = await self._offload(lambda: overlay_id(key, nonce, self._network))
        except PuzzleError:
            self._remember(key, nonce, None)
        else:
            self._remember(key, nonce, verdict)

    def _remember(self, key: NodeId, nonce: bytes, verdict: OverlayId | None) -> None:
        self._verdicts[(bytes(key), nonce)] = verdict
        while len(self._verdicts) > CACHED_IDS:
            self._verdicts.popitem(last=False)
