"""What tests hold in their hands: test bed, service, VNF, SAP, link, and the probes on them."""
