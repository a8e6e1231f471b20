"""Random bytes in advance."""

from federation.model.clocks import PooledEntropy


def test_no_byte_is_given_twice() -> None:
    entropy = PooledEntropy()
    tokens = [entropy.token(16) for _ in range(10 * PooledEntropy.POOL // 16)]
    assert len(set(tokens)) == len(tokens)
    assert {len(token) for token in tokens} == {16}


def test_sizes_around_the_pool() -> None:
    entropy = PooledEntropy()
    assert entropy.token(0) == b""
    for size in (1, PooledEntropy.POOL - 1, PooledEntropy.POOL, PooledEntropy.POOL + 1, 8):
        assert len(entropy.token(size)) == size
