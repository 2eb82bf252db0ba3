"""The schema of the DynamoDB table, for the stack that deploys it, for tests and for emulators."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["TTL_ATTRIBUTE", "create_table", "table_definition"]

PARTITION_KEY: Final = "pk"
SORT_KEY: Final = "sk"
TTL_ATTRIBUTE: Final = "expires_at"


def table_definition(name: str) -> dict[str, Any]:
    """The request of CreateTable: on demand, without an index."""
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"} for key in (PARTITION_KEY, SORT_KEY)],
        "KeySchema": [
            {"AttributeName": PARTITION_KEY, "KeyType": "HASH"},
            {"AttributeName": SORT_KEY, "KeyType": "RANGE"},
        ],
    }


def create_table(client: Any, name: str) -> None:
    """Creates the table with a boto3 client, waits until it is there, and turns expiry on."""
    client.create_table(**table_definition(name))
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    client.update_time_to_live(
        TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": TTL_ATTRIBUTE}
    )
