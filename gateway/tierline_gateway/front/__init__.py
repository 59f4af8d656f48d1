"""What clients and people meet: OpenAI's endpoints, refusals, answers, and the admin port."""
