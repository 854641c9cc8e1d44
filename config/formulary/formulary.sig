# The signature of formulary.toml, byte for byte.
key = "demo"
signature = "e3yQFiZK9mMX1XixRXJctyxq/oIpUMuFXmg73i1WqelSkLYB6TB7tiTOQNRHpt5MTxMPwTgEG04wsA1yCRZ1Bw=="
