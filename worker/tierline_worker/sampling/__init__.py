"""The next token of each row: logits are edited, a token is drawn, its log probability reported."""
