"""Two launchers, on loopback and in network namespaces of their own, are one with two processes."""

import os
import shutil
import socket
import subprocess

import pytest
from launching import CONFIG, SHORT, finish, same_end, start

pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def two_nodes(work_dir, addresses, before=((), ()), **environ):
    """A launcher with one process on each "machine"; both have to succeed."""
    port, nodes = free_port(), []
    for rank in (0, 1):
        environ |= dict(NNODES='2', NODE_RANK=str(rank), MASTER_ADDR=addresses[0], PORT=port)
        environ['LOCAL_ADDR'] = addresses[rank]
        options = ('--work-dir', work_dir, *SHORT)
        nodes.append(start('dist_train.sh', CONFIG, 1, *options, before=before[rank], **environ))
    for node in nodes:
        status, printed = finish(node)
        assert status == 0, printed


@pytest.mark.parametrize('restarts', ['0', '1'])
def test_two_launchers_on_loopback(undisturbed, tmp_path, restarts):
    """With restarts the machines meet by torchrun's own rendezvous."""
    two_nodes(tmp_path / 'run', ('127.0.0.1', '127.0.0.1'), MAX_RESTARTS=restarts)
    same_end(undisturbed, tmp_path / 'run')


@pytest.fixture
def namespaces():
    """Two network namespaces joined by a cable: 10.77.0.1 and 10.77.0.2."""
    if os.geteuid() or not shutil.which('ip'):
        pytest.skip('network namespaces need root and the `ip` command')
    names = [f'bce3s{os.getpid()}{side}' for side in 'ab']

    def ip(*command, check=True):
        return subprocess.run(['ip', *command], capture_output=True, text=True, check=check)

    try:
        for name in names:
            if made := ip('netns', 'add', name, check=False).stderr:
                pytest.skip(f'network namespaces cannot be made here: {made.strip()}')
        ip('link', 'add', 'va', 'netns', names[0], 'type', 'veth', 'peer', 'vb', 'netns', names[1])
        for name, cable, address in zip(names, ('va', 'vb'), ('1', '2'), strict=True):
            ip('-n', name, 'address', 'add', f'10.77.0.{address}/24', 'dev', cable)
            for device in (cable, 'lo'):
                ip('-n', name, 'link', 'set', device, 'up')
        yield names
    finally:
        for name in names:
            ip('netns', 'delete', name, check=False)


@pytest.mark.parametrize('restarts', ['0', '1'])
def test_two_machines_joined_by_a_cable(undisturbed, tmp_path, namespaces, restarts):
    """gloo is told the interface: by itself it takes that of the host name, which has none here."""
    before = [
        ('ip', 'netns', 'exec', name, 'env', f'GLOO_SOCKET_IFNAME={cable}')
        for name, cable in zip(namespaces, ('va', 'vb'), strict=True)
    ]
    two_nodes(tmp_path / 'run', ('10.77.0.1', '10.77.0.2'), before, MAX_RESTARTS=restarts)
    same_end(undisturbed, tmp_path / 'run')
