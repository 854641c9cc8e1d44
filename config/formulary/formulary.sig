# The signature of formulary.toml, byte for byte.
key = "demo"
signature = "UEc1LvWnMowxlZPfOBluazyltIsTsbl3tWmbZREOfC8D/UQIQK8CgpCsdA9zCr+QrM54qBWh1GVA2epvUfzLCQ=="
