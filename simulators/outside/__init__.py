"""Other people's models as functions that instruments read: ``run(inputs, sites=(), replace={}) -> {site: array}``."""
