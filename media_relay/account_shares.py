"""How the rate that each account may have relayed is divided among the workers (core).

An account's clients may be in several workers. Each worker holds the account to a share, and the
shares of one account are together its rate; so the rate holds whatever the workers do, and nothing
has to be asked for a datagram. Once a second the shares follow what each worker could use.
"""

from media_relay.control_turn import LimitAccount
from media_relay.turn.guests import is_guest

LEAST_SHARE = 0.1
"Part of the rate that is divided evenly, so that who was silent can begin."

Orders = list[tuple[int, LimitAccount]]
"To which worker, and what."


class AccountShares:
    """The shares of every account that has relay ports. Guests have a budget of their own."""

    def __init__(self, rate: int | None = None) -> None:
        """`rate` is each account's, in bytes a second; `None`: no limit."""
        self._rate = rate
        self._ports: dict[str, dict[int, int]] = {}
        "Relay ports by login and worker."
        self._demand: dict[tuple[str, int], float] = {}
        "Bytes a second that a worker passed and dropped for an account, of late."
        self._heard: dict[str, set[int]] = {}
        "Workers that have told of an account since the last of them told twice."
        self._told: dict[tuple[str, int], int] = {}

    def opened(self, login: str, worker: int) -> Orders:
        """A worker has one more port of an account; the orders go out before the port does.

        The worker is told its share each time: it may just have been told to forget the account.
        """
        if self._rate is None or is_guest(login):
            return []
        workers = self._ports.setdefault(login, {})
        workers[worker] = workers.get(worker, 0) + 1
        self._told.pop((login, worker), None)
        return self._divide(login)

    def closed(self, login: str, worker: int) -> Orders:
        """A worker has one port less."""
        workers = self._ports.get(login, {})
        if worker not in workers:
            return []
        workers[worker] -= 1
        return [] if workers[worker] else [_no_more(login, worker), *self._left(login, worker)]

    def used(self, login: str, worker: int, size: int) -> Orders:
        """So many bytes a worker passed or dropped for an account in the last second.

        A worker that tells nothing while another one tells twice had nothing for it.
        """
        if worker not in self._ports.get(login, ()):
            return []
        heard = self._heard.setdefault(login, set())
        if worker in heard:
            for silent in self._ports[login].keys() - heard:
                self._demand[login, silent] = self._demand.get((login, silent), 0.0) / 2
            heard.clear()
        heard.add(worker)
        self._demand[login, worker] = self._demand.get((login, worker), 0.0) / 2 + size
        return self._divide(login)

    def forget(self, worker: int) -> Orders:
        """A worker is gone with all its ports."""
        lost = [login for login, workers in self._ports.items() if worker in workers]
        return [order for login in lost for order in self._left(login, worker)]

    def _left(self, login: str, worker: int) -> Orders:
        workers = self._ports[login]
        del workers[worker]
        self._demand.pop((login, worker), None)
        self._told.pop((login, worker), None)
        self._heard.get(login, set()).discard(worker)
        if not workers:
            del self._ports[login]
            self._heard.pop(login, None)
            return []
        return self._divide(login)

    def _divide(self, login: str) -> Orders:
        """Shares that changed; those that shrink first."""
        if self._rate is None:
            return []
        rate, workers = self._rate, self._ports[login]
        demand = {worker: self._demand.get((login, worker), 0.0) for worker in workers}
        useful = {worker: min(need, rate) for worker, need in demand.items()}
        total, even = sum(useful.values()), 1 / len(workers)
        shares: dict[int, int] = {}
        for worker in workers:
            part = useful[worker] / total if total else even
            shares[worker] = int(rate * (LEAST_SHARE * even + (1 - LEAST_SHARE) * part))
        changed = [w for w in workers if self._told.get((login, w)) != shares[w]]
        changed.sort(key=lambda w: shares[w] - self._told.get((login, w), 0))
        self._told.update(((login, w), shares[w]) for w in changed)
        return [(w, LimitAccount(login, shares[w])) for w in changed]


def _no_more(login: str, worker: int) -> tuple[int, LimitAccount]:
    return worker, LimitAccount(login, 0)
