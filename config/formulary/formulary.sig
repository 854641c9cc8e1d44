# The signature of formulary.toml, byte for byte.
key = "demo"
signature = "F+q8zHXpvVhDMGNqiZ8JpFlwYaT/wIxHcRgFwMZMB2rt2T+zzeQMsZRMlvSJR3xBkw1oJfWSYq9Fl6z6XscQDw=="
