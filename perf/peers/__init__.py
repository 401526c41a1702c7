"""What perf/compare compares: each module runs one contender on the same captures."""
