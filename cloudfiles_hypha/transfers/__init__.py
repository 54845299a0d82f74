"""What is done with one item or with many: tasks, and the batches that run them."""
