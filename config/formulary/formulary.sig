# The signature of formulary.toml, byte for byte.
key = "demo"
signature = "kHq4n0nwmogJrICwCxFcn58k2eGcSsUY7U1+YGAgdb6K3wHea8qPfxiNbstk69qyJwmJkod94MS3bF46dy//BA=="
