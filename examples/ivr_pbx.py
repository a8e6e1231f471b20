r"""A PBX behind a single-number trunk: whoever calls meets a menu and presses a key.

    python examples/ivr_pbx.py                                           # shows itself
    python examples/ivr_pbx.py --server 192.0.2.7 --login office --password SECRET \
        --operator sip:bob@KEY.ringmesh.alt

With the three parameters of a trunk (`ringmesh trunk add office --pbx`) it serves until Ctrl-C, and
any phone of the network can call it. Without, it makes two nodes and a caller of its own, who calls
from the other node and tries both keys. Where a real PBX speaks, this one plays a tone:

    440 Hz   the menu: press 1 or 2
    880 Hz   key 1: the opening hours
    (echo)   key 2: the call is transferred (REFER) to `--operator`, here the echo test of the node
"""

import argparse
import asyncio
import contextlib

from stage import can_call, pitch, registered, run, some_nodes

from node.phone.call import Call
from node.phone.choices import Answer, Tone
from node.phone.errors import PhoneError
from node.phone.phone import Phone

MENU, HOURS = Tone(440), Tone(880)
PATIENCE = 20.0
"Seconds a caller may think."


async def serve(pbx: Phone, operator: str) -> None:
    """Answer every call, several at a time, until cancelled."""
    await pbx.set_policy(Answer(), MENU)
    async with asyncio.TaskGroup() as calls:
        while True:
            with contextlib.suppress(TimeoutError, PhoneError):
                calls.create_task(attend(await pbx.next_call(3600), operator))


async def attend(call: Call, operator: str) -> None:
    """One caller's way through the menu."""
    print(f"  {call.remote.uri} calls")
    try:
        await call.wait_confirmed()
        (digit,) = await call.wait_digits(1, within=PATIENCE)
        print(f"  {call.remote.uri} presses {digit.digit}")
        match digit.digit:
            case "1":
                await call.play(HOURS)
            case "2":
                await call.transfer(operator)  # the PBX leaves; the caller goes on
            case _:
                await call.hang_up()
        await call.wait_ended(3600)
    except PhoneError as error:
        print(f"  {error}")
        if not call.has_ended:
            await call.hang_up()


async def try_it(caller: Phone, number: str) -> bool:
    """Call twice and press each key; whether the right thing was heard."""
    call = await caller.call(number)
    await call.wait_confirmed()
    heard = [await pitch(call)]
    await call.dtmf("1")
    await asyncio.sleep(1.0)
    heard.append(await pitch(call))
    await call.hang_up()

    call = await caller.call(number)
    await call.wait_confirmed()
    heard.append(await pitch(call))
    await call.dtmf("2")
    call = await call.wait_successor()  # the call that the transfer puts in this one's place
    await call.wait_confirmed()
    await call.play(Tone(660))
    await asyncio.sleep(0.5)
    heard.append(await pitch(call))  # our own voice
    await call.hang_up()
    print(f"heard: {heard}")
    return heard == [440, 880, 440, 660]


async def show() -> int:
    """Two nodes, the PBX on one, the caller on the other."""
    async with some_nodes("office", "elsewhere") as (office, elsewhere):
        trunk = await office.ask("trunk", "add", "pbx", "--pbx", "--mode", "single")
        alice = await elsewhere.add_user("alice")
        print(f"the PBX has one number: {trunk['number']}")
        await can_call(elsewhere, trunk["number"])
        async with registered(trunk) as pbx, registered(alice) as phone:
            echo = f"sip:echo@{office.status['key_name']}"  # the name that every node knows it by
            serving = asyncio.create_task(serve(pbx, echo))
            try:
                return 0 if await try_it(phone, trunk["number"]) else 1
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)


async def main() -> int:
    """Serve a trunk that is given, or show it all."""
    parser = argparse.ArgumentParser(description="A PBX with a menu.")
    parser.add_argument("--server", metavar="HOST[:PORT]")
    parser.add_argument("--login")
    parser.add_argument("--password")
    parser.add_argument("--operator", metavar="URI", help="where key 2 leads, as sip:bob@…")
    given = parser.parse_args()
    if given.server is None:
        return await show()
    if None in (given.login, given.password, given.operator):
        parser.error("--server needs --login, --password and --operator")
    async with registered(vars(given)) as pbx:
        print(f"{given.login} is registered at {given.server}")
        await serve(pbx, given.operator)
    return 0


if __name__ == "__main__":
    run(main)
