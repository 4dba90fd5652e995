"""SONATA's gatekeeper over HTTP: packages onboarded, services started and stopped on a test bed."""
