# The signature of formulary.toml, byte for byte.
key = "demo"
signature = "f7L+8Fu0AIqpOskyqSd0E7ByvFxC00mNBCjKlnSyjivDythKEqCkhf/EbLs8UmihTFmrZowV7Pdj9IXH0u9oDw=="
