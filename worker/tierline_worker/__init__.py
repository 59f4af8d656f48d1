"""The worker: a torch paged-KV continuous batcher that executes the plans of `tierline.scheduling`."""
