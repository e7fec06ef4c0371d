"""The layers of a retina that everything else rests on: where it begins, where the RPE is and would be."""
