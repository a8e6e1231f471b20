"""The cases of the full run, each with the goals it has to meet."""

from dataclasses import dataclass, field, replace

from tests.simulation.world import HOSTILE, MIX, Kind

OTHER_SEED = "~"
"Stands in the name of a case before its seed, unless that is 1."
LIARS = {Kind.LIAR: 1}
"Colluding liars: they name only each other. The basis of the goals for hostile shares."


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One world and what happens in it."""

    name: str
    what: str = ""
    layer: str = "core"
    "core: generated tables; whole: real directories with all they do; stock: kademlia's crawls."
    nodes: int = 10_000
    lookups: int = 3_000
    "Of published names; a tenth as many are made for names that nobody published."
    hostile: float = 0.0
    mix: dict[Kind, int] = field(default_factory=lambda: LIARS)
    poison: float = 0.0
    churn: float = 0.0
    gone: float = 0.0
    "Share of the nodes that vanish between publishing and looking up."
    sybils: int = 0
    "Hostile ids placed nearest to each of the two places of every key."
    loss: float = 0.0
    events: str = ""
    "What happens meanwhile in the whole layer: churn, partition."
    seed: int = 1
    records: int = 0
    "Published names; 0: as many as suit the lookups."
    goals: tuple[tuple[str, str, float], ...] = ()
    "(figure, `>=` or `<=`, bound)."


def full_run(seed: int = 1) -> list[Case]:
    """Every case, the quick and the most telling ones first."""
    healthy = (
        ("found", ">=", 0.999), ("p50_s", "<=", 0.2), ("p99_s", "<=", 0.5), ("hops_p99", "<=", 5),
        ("messages_p99", "<=", 60), ("miss_messages_p99", "<=", 120),
    )  # fmt: skip
    hostile = (
        ("p99_s", "<=", 1.0), ("hops_p99", "<=", 5), ("messages_p99", "<=", 60),
        ("miss_messages_p99", "<=", 120),
    )  # fmt: skip
    forged = (("wrong", "<=", 0.0),)
    shares = [
        Case(name="healthy", what="nobody hostile", goals=healthy + forged),
        Case(name="liars-20", what="20 % colluding liars", hostile=0.2,
             goals=(("found", ">=", 0.999), *hostile, *forged)),
        Case(name="liars-30", what="30 % colluding liars", hostile=0.3,
             goals=(("found", ">=", 0.995), *hostile, *forged)),
        Case(name="liars-50", what="50 % colluding liars", hostile=0.5,
             goals=(("found", ">=", 0.95), *forged)),
        Case(name="zoo-30", what="30 % of every hostile kind", hostile=0.3, mix=MIX,
             lookups=1_000, goals=(("found", ">=", 0.995),)),
        Case(name="poisoned-60", what="20 % liars, tables poisoned to 60 %", hostile=0.2,
             poison=0.6, lookups=1_000, goals=(("found", ">=", 0.98), *forged)),
        Case(name="half-gone", what="half of all nodes gone at once", gone=0.5, lookups=1_000,
             goals=(("found", ">=", 0.995), ("p99_s", "<=", 2.0), *forged)),
        Case(name="churned", what="tables 30 % out of date", churn=0.3, lookups=500,
             goals=(("found", ">=", 0.995), *forged)),
    ]  # fmt: skip
    eclipse = [
        Case(name=f"sybils-{count}", what=f"{count} ids nearest to each place of a key",
             sybils=count, lookups=200, records=4,
             goals=(("found", ">=", 0.99), *forged) if count <= 100 else forged)
        for count in (20, 60, 100, 200)
    ]  # fmt: skip
    kinds = [
        Case(name=f"{kind}-30", what=f"30 % {kind}", hostile=0.3, mix={kind: 1}, nodes=2_000,
             lookups=400, goals=(("found", ">=", 0.995),))
        for kind in HOSTILE
        if kind is not Kind.LIAR
    ]  # fmt: skip
    whole = [
        Case(name="whole", what="1,000 directories: join, publish, look up", layer="whole",
             nodes=1_000, lookups=1_000,
             goals=(("found", ">=", 0.999), ("p99_s", "<=", 0.5), ("hops_p99", "<=", 5),
                    ("messages_p99", "<=", 60), ("cpu_s", "<=", 600.0), *forged)),
        Case(name="whole-churn",
             what="300 directories, 20 % zoo; one leaves, one comes each second",
             layer="whole", nodes=300, lookups=600, hostile=0.2, mix=MIX, events="churn",
             goals=(("found", ">=", 0.995), *forged)),
        Case(name="whole-half-gone", what="200 directories, half gone at once, then ten minutes",
             layer="whole", nodes=200, lookups=600, events="half-gone",
             goals=(("found", ">=", 0.995), ("p99_s", "<=", 2.0), ("dead_contacts", "<=", 0.05),
                    ("holders_least", ">=", 20.0), *forged)),
        Case(name="whole-partition", what="100 directories, apart for an hour, then healed",
             layer="whole", nodes=100, lookups=400, events="partition",
             goals=(("found", ">=", 0.99), ("apart_found", ">=", 0.99), *forged)),
        Case(name="whole-idle", what="100 directories, an idle hour", layer="whole", nodes=100,
             lookups=100, events="idle", goals=(("idle_bytes_s", "<=", 200.0),
                                                ("route_bytes_s", "<=", 5.0))),
    ]  # fmt: skip
    stock = [
        Case(name=f"stock-{case.name}", what=f"kademlia 2.2.3: {case.what}", layer="stock",
             hostile=case.hostile, mix=case.mix, gone=case.gone, poison=case.poison, lookups=1_000)
        for case in shares
        if case.name != "churned"
    ]  # fmt: skip
    cases = (
        stock + shares + eclipse[2:3] + whole[1:] + kinds + eclipse[:2] + eclipse[3:] + whole[:1]
    )
    return [_seeded(case, seed) for case in cases]


def _seeded(case: Case, seed: int) -> Case:
    """With another seed than the first a case has another name, so that both results are kept."""
    name = case.name if seed == 1 else f"{case.name}{OTHER_SEED}{seed}"
    return replace(case, name=name, seed=seed)
