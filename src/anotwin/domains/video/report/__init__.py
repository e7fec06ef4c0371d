"""Tables, timelines and annotated videos of clips."""
