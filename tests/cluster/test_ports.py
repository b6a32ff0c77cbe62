import socket

from cluster.ports import free_ports, is_free


def test_free_ports_are_different_and_can_be_bound() -> None:
    found = free_ports(20)

    assert len(set(found)) == 20
    assert all(is_free(port) for port in found)


def test_a_port_that_something_listens_on_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert not is_free(listener.getsockname()[1])
