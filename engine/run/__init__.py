"""The stages in order: regions, buckets, resume, masking, manifest."""
