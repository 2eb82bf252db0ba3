"""The sample shop: workflows of a small web shop, with services that can be broken on purpose."""
