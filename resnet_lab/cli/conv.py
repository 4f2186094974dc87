"""`resnet-lab conv`: the arithmetic of one convolution, with the numbers filled in."""

import click

from resnet_lab.architecture.arithmetic import product, side_sum, weights_sum
from resnet_lab.cli.errors import exits
from resnet_lab.spec.errors import SpecError

at_least_one = click.IntRange(1, 2**20)


@click.command()
@click.argument("side", type=at_least_one)
@click.option("--kernel", type=at_least_one, metavar="N", default=3, show_default=True, help="Side of the kernel.")
@click.option("--stride", type=at_least_one, metavar="N", default=1, show_default=True, help="Steps of the kernel.")
@click.option("--padding", type=click.IntRange(0, 2**20), metavar="N", default=0, show_default=True, help="Zeros at each edge.")
@click.option("--dilation", type=at_least_one, metavar="N", default=1, show_default=True, help="Distance between the kernel's points.")
@click.option("--in", "channels_in", type=at_least_one, metavar="N", default=3, show_default=True, help="Channels that come in.")
@click.option("--out", "channels_out", type=at_least_one, metavar="N", default=64, show_default=True, help="Channels that go out: kernels.")
@click.option("--bias/--no-bias", default=False, help="One more number per kernel; batch norm makes it useless.")
@exits
def conv(side: int, kernel: int, stride: int, padding: int, dilation: int, channels_in: int, channels_out: int, bias: bool) -> None:
    """Show what a convolution does to an image of SIDE x SIDE pixels: size, parameters, multiply-adds, receptive field."""
    spread = dilation * (kernel - 1) + 1
    reach = side + 2 * padding - spread
    if reach < 0:
        raise SpecError.of(
            f"a kernel that spans {spread} pixels does not fit into {side} + 2 x {padding} = {side + 2 * padding}: pad more", key="--kernel"
        )
    out, unseen = reach // stride + 1, reach % stride
    weights = kernel * kernel * channels_in * channels_out
    spans = f"{dilation} x ({kernel} - 1) + 1" if dilation > 1 else f"{kernel}"
    lines = (
        "size             (side + 2 padding - kernel) / stride, rounded down, + 1",
        f"                 = {side_sum(side, kernel, stride=stride, padding=(padding, padding), dilation=dilation)}",
        f"shape            {channels_in} x {side} x {side} -> {channels_out} x {out} x {out}",
        f"parameters       kernel x kernel x in x out = {weights_sum(kernel, kernel, channels_in, channels_out, bias=channels_out if bias else 0)}",
        f"multiply-adds    weights x size x size = {product(weights, out, out)}",
        f"receptive field  {spans} {'= ' + str(spread) + ' ' if dilation > 1 else ''}x {spread} pixels; the next pixel's lies {stride} further",
    )
    for line in lines:
        click.echo(line)
    if unseen:
        click.echo(
            f"the last {unseen} row{'s' if unseen > 1 else ''} and column{'s' if unseen > 1 else ''} of the padded image are not looked at"
        )
