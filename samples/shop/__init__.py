"""The sample shop: three stories of a small web shop, on services that can be broken on purpose."""
