"""An ordinary telephone provider: its number (DID) leads to a user, and calls go out through it.

    python examples/provider_did.py

The provider is a pjsua2 phone that knows the node by its address, as many providers do for
business lines; a real one goes into `--server`, with `--login` and `--password`. Whoever is called
sees the caller's telephone number, and the provider sees the user's.
"""

from stage import pitch, registered, run, some_nodes

from node.phone.choices import Answer, Tone
from node.phone.phone import Phone
from node.spawned import SpawnedNode

DID, ABROAD = "+49301234567", "+442079460000"
PROVIDER_IP = "127.0.9.1"


async def main() -> int:
    """Both directions; the exit code is 1 if one is not as it should be."""
    async with (
        some_nodes("home") as (node,),
        Phone(local_ip=PROVIDER_IP, name=ABROAD, policy=Answer(), playing=Tone(880)) as provider,
    ):
        bob = await node.add_user("bob")
        await add_trunk(node, provider)
        async with registered(bob, policy=Answer(), playing=Tone(880)) as phone:
            ok = await call_in(node, provider, phone) and await call_out(phone, provider)
    return 0 if ok else 1


async def add_trunk(node: SpawnedNode, provider: Phone) -> None:
    """The trunk: numbers that begin with 00 or + go out there, and DID leads to bob."""
    await node.ask(
        *("trunk", "add", "telco", "--provider", "--server", f"{PROVIDER_IP}:{provider.sip_port}"),
        *("--prefix", "00=+", "--prefix", "+", "--did", f"{DID}=bob"),
    )
    print(f"{DID} leads to bob")


async def call_in(node: SpawnedNode, provider: Phone, phone: Phone) -> bool:
    """The provider brings a call for the DID."""
    call = await provider.call(
        f"sip:{DID}@{node.place.ip}:{node.place.sip_port}", playing=Tone(440)
    )
    await call.wait_confirmed()
    there = await phone.next_call()
    await there.wait_confirmed()
    heard = await pitch(there)
    print(f"bob is called by {there.remote.uri}")
    await call.hang_up()
    await there.wait_ended()
    return ABROAD in there.remote.uri and heard == 440


async def call_out(phone: Phone, provider: Phone) -> bool:
    """Bob dials abroad as he always did; the first number that leads to him is shown."""
    call = await phone.call("00" + ABROAD[1:], playing=Tone(440))
    await call.wait_confirmed()
    there = await provider.next_call()
    await there.wait_confirmed()
    assert there.invite is not None
    heard = await pitch(there)
    print(f"the provider is asked for {there.invite.first_line.split()[1]}")
    print(f"  by {there.remote.uri}")
    await call.hang_up()
    await there.wait_ended()
    return DID in there.remote.uri and heard == 440


if __name__ == "__main__":
    run(main)
