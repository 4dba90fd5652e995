"""What a person sees of a run: headers, progress, the story of a failed test."""
