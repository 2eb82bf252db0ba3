"""Templates, looked at without deploying them.

What follows must stand before the first import of aws_cdk: its built-in rule engine takes seconds for each template,
and says less than cdk-nag and cfn-lint, which the suite runs.
"""

import os

os.environ.setdefault("CDK_VALIDATION", "false")
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "1")
