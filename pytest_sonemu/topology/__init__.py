"""The emulated infrastructure as data: PoPs, links between them, hosts, SAPs."""
