"""GRUUs: who they name, and who cannot be found out."""

from dataclasses import replace

import pytest

from federation.model.clocks import UnixTime
from node.sip.binding import Binding
from node.sip.gruu import MAX_TEMPORARY, TEMPORARY, Gruus
from node.sip.headers import NameAddr
from node.sip.uri import Uri
from tests.support.sip_exchange import UDP, SeededEntropy

GRUUS = Gruus(b"secret of a node", SeededEntropy())
HOST = "key.ringmesh.alt"
BINDING = Binding(
    aor="alice", key="k", uri="sip:alice@192.0.2.10:5070", flow=UDP, is_connected=True,
    server="pbx", instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>", reg_id=1, q=1.0,
    path=(), user_agent="", call_id="reg-1", cseq=1, registered_at=UnixTime(0.0),
    expires_at=UnixTime(600.0),
)  # fmt: skip
OTHER = replace(BINDING, key="o", instance="<urn:uuid:2>")


def gruus_of(binding: Binding) -> tuple[Uri, Uri]:
    contact = NameAddr.parse(f"<{binding.uri}>" + GRUUS.parameters(binding, HOST))
    public, temporary = contact.param("pub-gruu"), contact.param("temp-gruu")
    assert public
    assert temporary
    return Uri.parse(public), Uri.parse(temporary)


def test_both_name_their_device_and_no_other() -> None:
    for uri in gruus_of(BINDING):
        assert uri.host == HOST
        device = GRUUS.read(uri)
        assert device is not None
        assert device.aor == "alice"
        assert device.is_at(BINDING)
        assert not device.is_at(OTHER)
        assert not device.is_at(replace(BINDING, aor="bob"))
        assert not device.is_at(replace(BINDING, instance=None))


def test_the_public_one_is_always_the_same_and_a_temporary_one_never() -> None:
    (public, temporary), (again, another) = gruus_of(BINDING), gruus_of(BINDING)
    assert public == again
    assert temporary != another
    for uri in (temporary, another):
        device = GRUUS.read(uri)
        assert device is not None
        assert device.is_at(BINDING)


def test_a_temporary_one_says_nothing_of_whose_it_is() -> None:
    _, temporary = gruus_of(BINDING)
    assert "alice" not in str(temporary)
    assert "f81d" not in str(temporary)


def test_a_temporary_one_ends_with_the_call_id_of_its_registration() -> None:
    public, temporary = gruus_of(BINDING)
    restarted = replace(BINDING, call_id="reg-2")
    found, gone = GRUUS.read(public), GRUUS.read(temporary)
    assert found is not None
    assert gone is not None
    assert found.is_at(restarted)
    assert not gone.is_at(restarted)


@pytest.mark.parametrize(
    "text",
    [
        "sip:alice@pbx",
        "sip:alice@pbx;gr",
        f"sip:{TEMPORARY}@pbx;gr",
        f"sip:{TEMPORARY}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@pbx;gr",
        f"sip:{TEMPORARY}not-base32!@pbx;gr",
        f"sip:{TEMPORARY}{'a' * MAX_TEMPORARY}@pbx;gr",
        f"sip:{TEMPORARY}\u00e9@pbx;gr",
    ],
)
def test_what_was_not_given_out_names_nobody(text: str) -> None:
    assert GRUUS.read(Uri.parse(text)) is None


def test_one_of_another_node_is_not_read() -> None:
    _, temporary = gruus_of(BINDING)
    assert Gruus(b"another", SeededEntropy()).read(temporary) is None


@pytest.mark.parametrize("instance", [None, "", '<urn:"x">', "<a;b>", "<" + "u" * 300 + ">"])
def test_a_device_without_a_plain_instance_gets_none(instance: str | None) -> None:
    assert GRUUS.parameters(replace(BINDING, instance=instance), HOST) == ""
