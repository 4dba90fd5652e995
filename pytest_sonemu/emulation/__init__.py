"""All effects: the keeper of a test bed, its client, containers, links, images."""
