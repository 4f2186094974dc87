"""Published nets as our specs: they cost what the papers say, and a network is found to be one of them, or not."""

from dataclasses import replace

import pytest

from resnet_lab.networks.cost import cost
from resnet_lab.papers.facts import PAPERS, paper
from resnet_lab.papers.nets import net_spec, nets_like
from resnet_lab.spec.catalogue import named_network
from resnet_lab.spec.run import as_values

COUNTED = [net for key in PAPERS for net in paper(key).nets if net.params_exact]
ON_IMAGENET = [net for net in paper("he2015").nets if net.gmacs]


@pytest.mark.parametrize("net", COUNTED, ids=lambda net: net.name)
def test_our_counts_are_the_facts(net):
    """Would catch a spec that is not the paper's net, or a fact that was miscopied."""
    found = cost(net_spec(net.networks[0]), 32)
    assert found.params == net.params_exact
    assert net.macs in (None, found.macs)
    assert float(net.params.rstrip("M")) == pytest.approx(found.params / 1e6, abs=0.051 if found.params > 1e6 else 0.0051)


@pytest.mark.parametrize("net", ON_IMAGENET, ids=lambda net: net.name)
def test_our_counts_on_imagenet_are_table_1s(net):
    """Would catch the stride on the wrong convolution: 4.1e9 instead of 3.8e9 for ResNet-50."""
    assert cost(net_spec(net.networks[0], classes=1000), 224).macs / 1e9 == pytest.approx(net.gmacs, abs=0.1)


def test_every_spec_of_a_net_can_be_built():
    """Would catch a [network] section in the facts that the spec no longer reads."""
    for key in PAPERS:
        for net in paper(key).nets:
            for fields in net.networks:
                assert net_spec(fields).depths


def test_which_net_a_network_is():
    """Would catch a net found by its depth alone."""
    assert [net.name for net in nets_like(as_values(named_network("plain56")), "he2015")] == ["plain-56"]
    assert [net.name for net in nets_like(as_values(named_network("resnet56")), "he2015")] == ["ResNet-56"]
    wider = replace(named_network("resnet56"), widths=(32, 64, 128), stem_width=32)
    assert nets_like(as_values(wider), "he2015") == ()
    assert nets_like(as_values(replace(named_network("resnet56"), shortcut="projection")), "he2015") == ()


def test_a_net_is_the_same_however_it_is_drawn():
    """Would catch published points that vanish with another initialization."""
    network = as_values(replace(named_network("resnet20"), init="he_fan_in"))
    assert [net.name for net in nets_like(network, "he2015")] == ["ResNet-20"]
