"""From what is asked for (a network service, a topology) to a deployment plan; pure functions only."""
