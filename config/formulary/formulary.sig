# The signature of formulary.toml, byte for byte.
key = "demo"
signature = "16pHKNGHaZ3H3vyGfVT8UPAxc06QFRraZmP+GJlefPenZVqy3ZdB+clqrSGuDaKA/EtIo2u0KnYKCiUdUKItCQ=="
