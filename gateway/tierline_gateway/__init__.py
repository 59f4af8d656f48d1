"""The gateway: the OpenAI front door that admits, queues, routes, journals and accounts."""
