"""The command line and the CDK construct say the same words; neither imports the other."""

from __future__ import annotations

from milepost_console.stack.parts import Output as Read
from milepost_infra.names import Output as Written


def test_the_outputs_that_the_command_line_reads_are_those_that_the_construct_writes():
    written = {output.name: output.value for output in Written}
    assert {output.name: written.get(output.name) for output in Read} == {o.name: o.value for o in Read}
