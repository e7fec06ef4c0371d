"""A domain as somebody may add one: long strips, seen as squares cut from them. See CONTRIBUTING.md, "Add a domain"."""
