r"""A telephone for the command line: registers, calls or waits to be called, plays and records.

    python examples/softphone.py --server 192.0.2.7 --login alice --password secret
    python examples/softphone.py --server 192.0.2.7:5070 --login alice --password secret \
        --call "0234 5678 9012 345" --play hello.wav --record heard.wav --seconds 10

Without `--call` it rings for a second and answers, each caller in turn. Ctrl-C hangs up. It needs
the phone extra: pip install 'ringmesh[phone]'.
"""

import argparse
import asyncio
import contextlib
import socket
import sys
from pathlib import Path

from federation.model.address import AddressError, Endpoint
from node.phone.call import Call
from node.phone.choices import Answer, Playing, Silence, Tone, WavFile
from node.phone.errors import CallFailed, PhoneError, PhoneRefused, PhoneTimeout
from node.phone.phone import Phone
from node.phone.tones import level_of, read_wav

RING_SECONDS = 1.0
PATIENCE = 120.0


def parse_arguments() -> argparse.Namespace:
    """Read the command line; complains about files that cannot be."""
    parser = argparse.ArgumentParser(
        description="A telephone for the command line.", epilog="Ctrl-C hangs up."
    )
    parser.add_argument("--server", required=True, metavar="HOST[:PORT]")
    parser.add_argument("--login", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--transport", choices=("udp", "tcp"), default="udp")
    parser.add_argument("--call", metavar="URI", help="a number, login, URI, or *43 (echo test)")
    parser.add_argument("--play", type=Path, metavar="WAV", help="what to say, again and again")
    parser.add_argument("--tone", type=int, metavar="HZ", help="say a tone instead")
    parser.add_argument("--record", type=Path, metavar="WAV", help="where to keep what is heard")
    parser.add_argument("--seconds", type=float, help="hang up after so long (default: never)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="write down every SIP message")
    arguments = parser.parse_args()
    if arguments.play is not None and not arguments.play.is_file():
        parser.error(f"--play: there is no file {arguments.play}")
    if arguments.record is not None and not arguments.record.absolute().parent.is_dir():
        parser.error(f"--record: there is no folder {arguments.record.absolute().parent}")
    return arguments


def address_towards(server: str) -> str:
    """This machine's address on the way to the server."""
    host, port = server, 5060
    try:
        host, port = Endpoint.parse(server, 5060)
    except AddressError:
        host = server.partition(":")[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port or 5060))
        return str(probe.getsockname()[0])


def what_to_say(arguments: argparse.Namespace) -> Playing:
    """A file, a tone, or nothing."""
    if arguments.play is not None:
        return WavFile(arguments.play)
    if arguments.tone is not None:
        return Tone(arguments.tone)
    return Silence()


async def talk(call: Call, arguments: argparse.Namespace) -> None:
    """Stay in the call until somebody hangs up; the recording is closed in every case."""
    if arguments.record is not None:
        await call.record(arguments.record)
    try:
        await call.wait_ended(arguments.seconds or 24 * 3600)
        print(f"they hung up: {call.status} {call.reason}")
    except PhoneTimeout:
        with contextlib.suppress(PhoneRefused):  # they hung up in this very moment
            stats = await call.stats()
            print(f"{stats.codec}: {stats.received} packets heard, {stats.lost} lost")
        await call.hang_up()
        print("hung up")
    if arguments.record is not None:
        await call.stop_recording(arguments.record)
        heard = read_wav(arguments.record)
        level = level_of(heard.samples)
        print(f"heard {heard.seconds:.1f} s at {level:.1f} dBFS: {arguments.record}")


async def call_out(phone: Phone, arguments: argparse.Namespace) -> None:
    """Make one call."""
    call = await phone.call(arguments.call, playing=what_to_say(arguments))
    print(f"calling {phone.uri_of(arguments.call)}")
    try:
        await call.wait_confirmed(PATIENCE)
    except PhoneTimeout:
        await call.hang_up()
        raise
    print(f"answered after {call.set_up_time or 0:.2f} s")
    await talk(call, arguments)


async def wait_for_calls(phone: Phone, arguments: argparse.Namespace) -> None:
    """Answer whoever calls, until Ctrl-C."""
    await phone.set_policy(Answer(after=RING_SECONDS), what_to_say(arguments))
    print("waiting for calls")
    while True:
        try:
            call = await phone.next_call(3600)
        except PhoneTimeout:
            continue
        vouched = f", vouched for as {call.asserted.uri}" if call.asserted else ""
        print(f"{call.remote.name or 'somebody'} <{call.remote.uri}> calls{vouched}")
        try:
            await call.wait_confirmed()
            await talk(call, arguments)
        except CallFailed as error:
            print(error)


async def main() -> int:
    """Register, then call or be called; returns the exit code."""
    arguments = parse_arguments()
    try:
        local_ip = address_towards(arguments.server)
    except OSError as error:
        print(f"{arguments.server} cannot be reached: {error.strerror}", file=sys.stderr)
        return 1
    phone = Phone(local_ip=local_ip, name=arguments.login, log=arguments.log)
    try:
        async with phone:
            granted = await phone.register(
                arguments.login,
                arguments.password,
                server=arguments.server,
                transport=arguments.transport,
                retry=10,
            )
            print(f"{arguments.login} is registered at {arguments.server} for {granted} s")
            if arguments.call:
                await call_out(phone, arguments)
            else:
                await wait_for_calls(phone, arguments)
    except PhoneError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit(130)
