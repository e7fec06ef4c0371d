"""Files to native pixels and identity: folders, MVTec AD, idx, arrays, splits."""
