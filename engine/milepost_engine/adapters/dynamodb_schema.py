"""The DynamoDB table's schema, once: for the stack that deploys it, for tests and for emulators."""

from typing import Any, Final

from milepost_engine.ports import LISTED_ATTRIBUTES

__all__ = ["LISTING_INDEX", "TTL_ATTRIBUTE", "create_table", "table_definition"]

PARTITION_KEY: Final = "pk"
SORT_KEY: Final = "sk"
LISTING_INDEX: Final = "listing"
LISTING_PARTITION_KEY: Final = "lpk"
LISTING_SORT_KEY: Final = "lsk"
TTL_ATTRIBUTE: Final = "expires_at"


def table_definition(name: str) -> dict[str, Any]:
    """The request of CreateTable: on demand, one sparse index that projects what a listing shows."""
    keys = (PARTITION_KEY, SORT_KEY, LISTING_PARTITION_KEY, LISTING_SORT_KEY)
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"} for key in keys],
        "KeySchema": _key_schema(PARTITION_KEY, SORT_KEY),
        "GlobalSecondaryIndexes": [
            {
                "IndexName": LISTING_INDEX,
                "KeySchema": _key_schema(LISTING_PARTITION_KEY, LISTING_SORT_KEY),
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(LISTED_ATTRIBUTES)},
            }
        ],
    }


def create_table(client: Any, name: str) -> None:
    """Creates the table with a boto3 client, waits until it is there, and turns expiry on."""
    client.create_table(**table_definition(name))
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    client.update_time_to_live(
        TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": TTL_ATTRIBUTE}
    )


def _key_schema(partition: str, sort: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": partition, "KeyType": "HASH"},
        {"AttributeName": sort, "KeyType": "RANGE"},
    ]
