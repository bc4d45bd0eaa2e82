"""Ed25519: the vectors of RFC 8032, and what must not verify."""

import pytest

from fetchml.errors import Corrupt
from fetchml.keys.ed25519 import generate, make_signer, verify
from fetchml.models.key import key_id_of
from fetchml.models.manifest import seal_message

# RFC 8032 section 7.1, tests 1 to 3: private key, public key, message, signature.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]


@pytest.mark.parametrize(("private", "public", "message", "signature"), VECTORS)
def test_signatures_are_those_of_the_rfc(private: str, public: str, message: str, signature: str) -> None:
    made = make_signer(private, public)(bytes.fromhex(message))
    assert (made.signature, made.public_key, made.key_id) == (signature, public, key_id_of(public))
    assert verify(public, bytes.fromhex(message), signature)


def test_a_signature_is_good_for_one_message_and_one_key() -> None:
    private, public = generate()
    _, other = generate()
    message = seal_message("ab" * 32)
    signature = make_signer(private, public)(message).signature
    assert verify(public, message, signature)
    assert not verify(public, message + b"x", signature)
    assert not verify(public, ("ab" * 32).encode(), signature), "the prefix is part of what is signed"
    assert not verify(other, message, signature)
    for place in range(0, 128, 7):
        flipped = f"{int(signature[place], 16) ^ 1:x}"
        assert not verify(public, message, signature[:place] + flipped + signature[place + 1 :])


def test_halves_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(Corrupt, match="do not belong together"):
        make_signer(generate()[0], generate()[1])


def test_two_keys_are_never_the_same() -> None:
    assert len({generate() for _ in range(20)}) == 20


def test_what_is_no_key_verifies_nothing() -> None:
    assert not verify("00" * 31 + "ff", b"", "00" * 64)
