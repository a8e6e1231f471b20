"""TURN for this node's accounts: the relay serves it, here it learns for whom and under which name.

Every account may use it with its login and password, from its first moment to its last.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from federation.model.errors import ConfigError
from media_relay.errors import NoCapacity
from media_relay.pool import RelayPool
from media_relay.turn_config import TurnAccount, TurnSettings
from node.accounts.account import Account
from node.accounts.book import AccountBook, AccountChange, AccountChanged, AccountRemoved
from node.config import Config
from node.sip.digest import REALM

LOOK_INTERVAL = 10.0
"Seconds between two looks at the certificate's files."


class TurnService:
    """Keeps the relay's TURN server in step with the account book."""

    def __init__(
        self,
        pool: RelayPool,
        book: AccountBook,
        files: Callable[[], tuple[Path, Path]],
        secret: bytes,
    ) -> None:
        """`files` are those of the certificate to show and of its key; they may be one.

        `secret` makes the passwords of time-limited names.
        """
        self._secret = secret
        self._pool = pool
        self._book = book
        self._files = files

    def start(self, config: Config, addresses: tuple[str, ...]) -> None:
        """Serve on these addresses of the machine until the pool closes.

        Raises:
            ConfigError: a port is in use.
        """
        certificate, key = self._files()
        try:
            self._pool.turn_listen(
                TurnSettings(
                    hosts=addresses,
                    port=config.turn_port,
                    tls_port=config.turn_tls_port,
                    certificate=str(certificate),
                    private_key=str(key),
                    external=config.relay.external_address,
                    second=config.relay.second_address,
                    second_port=config.turn_second_port,
                    allow_peers=config.relay.allow_peers,
                    account_kbits=config.relay.account_kbit,
                    realm=REALM,
                    rest_secret=self._secret,
                )
            )
        except NoCapacity as error:
            raise ConfigError(
                f"{error}; stop the other program, or choose other ports with --port-offset"
            ) from error
        self._pool.turn_accounts(turn_account(account) for account in self._book)
        self._book.listen(self._on_change)

    async def follow(self) -> None:
        """Show a certificate that changed to connections that begin then; until cancelled."""
        seen = self._certificate_state()
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            if seen != (seen := self._certificate_state()):
                self._pool.turn_renew()

    def _certificate_state(self) -> list[tuple[int, int]]:
        state = []
        for file in self._files():
            with contextlib.suppress(OSError):
                status = file.stat()
                state.append((status.st_mtime_ns, status.st_ino))
        return state

    def _on_change(self, change: AccountChange) -> None:
        match change:
            case AccountRemoved(account):
                self._pool.turn_accounts(remove=[account.login])
            case AccountChanged(before, after) if before.hashes == after.hashes:
                return
            case AccountChanged(_, after):
                self._pool.turn_accounts([turn_account(after)])
            case _:
                self._pool.turn_accounts([turn_account(change.account)])


def turn_account(account: Account) -> TurnAccount:
    """What the relay must know of an account: its long-term keys are the digest's HA1s."""
    return TurnAccount(
        account.login,
        bytes.fromhex(account.hashes.ha1_md5),
        bytes.fromhex(account.hashes.ha1_sha256),
    )
